// Every container yields the same values, bit for bit, as NumPy and PyTorch wrote into it.

import ResNetSwift
import XCTest

@testable import ResNetWeights

final class WeightFileReadingTests: XCTestCase {
    func testEveryContainerYieldsTheExactValues() throws {
        for fixture in WeightFixtures.files {
            let file = try WeightFile.open(WeightFixtures.path(fixture.name))
            XCTAssertEqual(file.container, fixture.kind, fixture.name)
            var expected = try WeightFixtures.expected(fixture.expected)
            if fixture.name.hasSuffix("_tar.pth") {
                expected = expected.filter { !$0.key.hasSuffix("num_batches_tracked") }
            }
            if fixture.kind == .npz { expected["bf16"] = nil }
            XCTAssertEqual(Set(file.entries.map(\.name)), Set(expected.keys), fixture.name)
            for entry in file.entries {
                let wanted = try XCTUnwrap(expected[entry.name], "\(fixture.name): \(entry.name)")
                let tensor = try file.tensor(entry.key)
                XCTAssertEqual(tensor.shape, wanted.shape, "\(fixture.name): \(entry.key)")
                XCTAssertEqual(entry.shape, wanted.shape, "\(fixture.name): \(entry.key)")
                let bits = wanted.bits.map { UInt32($0, radix: 16)! }
                let floats = Tensor(shape: wanted.shape, values: bits.map(Float.init(bitPattern:)))
                XCTAssertEqual(tensor.comparableBits, floats.comparableBits, "\(fixture.name): \(entry.key)")
                XCTAssertEqual(try file.tensor(named: entry.name).comparableBits, floats.comparableBits)
                let held = tensor.values.map { $0.isNaN ? 0 : UInt8(min(max($0, 0), 255)) }
                XCTAssertEqual(try file.bytes(entry.key), held, "\(fixture.name): \(entry.key)")
            }
        }
    }

    func testBytesInMemoryReadLikeAFile() throws {
        for fixture in WeightFixtures.files {
            let mapped = try WeightFile.open(WeightFixtures.path(fixture.name))
            let copied = try WeightFile.open(bytes: try WeightFixtures.bytes(fixture.name), name: fixture.name)
            XCTAssertEqual(copied.entries, mapped.entries, fixture.name)
            XCTAssertEqual(copied.metadata, mapped.metadata, fixture.name)
            for entry in mapped.entries {
                XCTAssertEqual(
                    try copied.tensor(entry.key).comparableBits, try mapped.tensor(entry.key).comparableBits)
            }
        }
    }

    func testEveryHalfConvertsExactly() {
        for pattern in UInt16.min...UInt16.max {
            let expected = Float(Float16(bitPattern: pattern))
            let found = floatFromHalf(pattern)
            if expected.isNaN {
                XCTAssertTrue(found.isNaN, "\(pattern)")
            } else {
                XCTAssertEqual(found.bitPattern, expected.bitPattern, "\(pattern)")
            }
        }
    }

    func testAlignedFloatsAreViewsAndOthersAreNot() throws {
        let safetensors = try WeightFile.open(WeightFixtures.path("tiny.safetensors"))
        for entry in safetensors.entries { XCTAssertEqual(entry.isView, entry.type == .float32, entry.key) }
        let zip = try WeightFile.open(WeightFixtures.path("tiny.pth"))
        XCTAssertTrue(zip.entries.filter { $0.type == .float32 }.allSatisfy(\.isView))
        let deflated = try WeightFile.open(WeightFixtures.path("tiny_deflated.npz"))
        XCTAssertFalse(deflated.entries.contains { $0.isView })
        let strides = try WeightFile.open(WeightFixtures.path("strides.pth"))
        let views = strides.entries.filter(\.isView).map(\.key)
        XCTAssertEqual(Set(views), ["base", "same", "part", "table", "single", "none"])
        XCTAssertEqual(
            try strides.tensor("base").storage.base, try strides.tensor("same").storage.base,
            "tensors that share a storage share the view")
    }

    func testAViewOutlivesTheFileItCameFrom() throws {
        let expected = try WeightFixtures.expected("tiny")["conv1.weight"]!.bits.map { UInt32($0, radix: 16)! }
        var tensor: Tensor?
        do {
            let file = try WeightFile.open(WeightFixtures.path("tiny.safetensors"))
            tensor = try file.tensor("conv1.weight")
        }
        XCTAssertEqual(tensor?.bits, expected)
    }

    func testDiscardedPagesAreReadAgain() throws {
        let file = try WeightFile.open(WeightFixtures.path("tiny.safetensors"))
        for entry in file.entries {
            let tensor = try file.tensor(entry.key)
            let before = tensor.bits
            file.discardPages(of: entry.key)
            XCTAssertEqual(tensor.bits, before)
            tensor.storage.discardPages()
            XCTAssertEqual(tensor.bits, before)
        }
        let own = Tensor(shape: [3], values: [1, 2, 3])
        own.storage.discardPages()
        XCTAssertEqual(own.values, [1, 2, 3])
    }

    func testWrappersMetadataAndIgnoredThingsAreTold() throws {
        let wrapped = try WeightFile.open(WeightFixtures.path("tiny_wrapped.pth"))
        XCTAssertEqual(wrapped.wrapper, ["state_dict"])
        XCTAssertEqual(wrapped.metadata, ["epoch": "90", "arch": "tiny", "best": "71.5"])
        XCTAssertEqual(wrapped.ignored, ["optimizer"])
        XCTAssertEqual(wrapped.entry("conv1.weight")?.key, "module.conv1.weight")
        let averaged = try WeightFile.open(WeightFixtures.path("tiny_averaged.pth"))
        XCTAssertEqual(averaged.wrapper, ["state_dict"], "the model's own weights are preferred")
        XCTAssertEqual(averaged.notes, ["left: key state_dict_ema and prefix _orig_mod.module.: a running average"])
        let safetensors = try WeightFile.open(WeightFixtures.path("tiny.safetensors"))
        XCTAssertEqual(safetensors.metadata, ["format": "pt", "model": "tiny"])
        XCTAssertEqual(safetensors.wrapper, [])
    }

    func testAnUnknownKeyIsAnErrorThatNamesIt() throws {
        let path = WeightFixtures.path("tiny.safetensors")
        let file = try WeightFile.open(path)
        XCTAssertThrowsError(try file.tensor("conv2.weight")) {
            XCTAssertEqual($0 as? WeightFileError, WeightFileError(path: path, fault: .noSuchKey("conv2.weight")))
        }
        XCTAssertNil(file.entry("conv2.weight"))
    }

    func testHuggingFaceNames() {
        let names = [
            "resnet.embedder.embedder.convolution.weight": "conv1.weight",
            "embedder.embedder.normalization.running_var": "bn1.running_var",
            "resnet.encoder.stages.0.layers.0.shortcut.convolution.weight": "layer1.0.downsample.0.weight",
            "resnet.encoder.stages.3.layers.2.layer.2.normalization.bias": "layer4.2.bn3.bias",
            "encoder.stages.1.layers.3.layer.0.convolution.weight": "layer2.3.conv1.weight",
            "classifier.1.bias": "fc.bias",
        ]
        for (key, name) in names { XCTAssertEqual(HuggingFaceNames.name(of: key), name) }
        for key in ["fc.weight", "resnet", "", "...", "encoder.stages.x.layers.0.layer.0.convolution.weight"] {
            XCTAssertNil(HuggingFaceNames.name(of: key), key)
        }
    }
}
