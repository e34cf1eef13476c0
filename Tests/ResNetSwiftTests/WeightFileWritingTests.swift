// What we write we read back, and the bytes are what the formats ask for.

import Foundation
import ResNetSwift
import XCTest

final class WeightFileWritingTests: XCTestCase {
    private func model() throws -> Model {
        try Model(graph: WeightFixtures.tinyGraph(), from: try WeightFile.open(WeightFixtures.path("tiny.pth")))
    }

    func testBothFormatsRoundTrip() throws {
        let folder = try TemporaryFolder()
        var model = try model()
        model.metadata["model"] = "tiny"
        model.metadata["transform"] = "{\"resize\":256,\"mean\":[0.5,0.25,1e-05]}"
        model.classNames = ["cat \"Felix\"", "dog\\wolf", "naïve\nline", "", "\u{1F43C}"]
        for format in WeightFormat.allCases {
            let path = "\(folder.path)/model.\(format.rawValue)"
            try model.save(to: path)
            let file = try WeightFile.open(path)
            XCTAssertEqual(file.container.rawValue, format.rawValue)
            XCTAssertEqual(file.entries.map(\.key), model.graph.parameters.map(\.name), "in the graph's order")
            XCTAssertTrue(file.entries.allSatisfy(\.isView), "\(format): every tensor lies aligned")
            let read = try Model(graph: model.graph, from: file)
            for (name, tensor) in model.parameters { XCTAssertEqual(read[name].bits, tensor.bits, name) }
            XCTAssertEqual(read.metadata, model.metadata)
            XCTAssertEqual(read.classNames, model.classNames)
        }
    }

    func testTheDataSectionsAreAligned() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/model.safetensors"
        for length in 1...70 {
            let tensors = [(key: String(repeating: "k", count: length), tensor: Tensor(shape: [1], values: [1]))]
            try WeightWriter.write(tensors, to: path, format: .safetensors)
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
            let header = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
            XCTAssertEqual((8 + header) % 64, 0)
            XCTAssertEqual(bytes.count, 8 + header + 4)
            XCTAssertEqual(bytes[8], UInt8(ascii: "{"))
            try WeightWriter.write(tensors, to: path, format: .npz)
            let file = try WeightFile.open(path)
            let address = UInt(bitPattern: try file.tensor(tensors[0].key).storage.base)
            XCTAssertEqual(address % 64, 0, "arrays of an npz lie at multiples of 64")
        }
    }

    func testOddTensorsRoundTrip() throws {
        let folder = try TemporaryFolder()
        let values: [Float] = [
            0, -0.0, .infinity, -.infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude, .pi, -1,
        ]
        let tensors = [
            (key: "scalar", tensor: Tensor(shape: [], values: [2.5])),
            (key: "empty", tensor: Tensor(shape: [0, 3], values: [])),
            (key: "cube", tensor: Tensor(shape: [2, 2, 2], values: values)),
            (key: "a/b.c \"quoted\" é", tensor: Tensor(shape: [1], values: [1])),
        ]
        for format in WeightFormat.allCases {
            let path = "\(folder.path)/odd.\(format.rawValue)"
            try WeightWriter.write(tensors, to: path, format: format)
            let file = try WeightFile.open(path)
            for (key, tensor) in tensors {
                XCTAssertEqual(try file.tensor(key).shape, tensor.shape)
                XCTAssertEqual(try file.tensor(key).bits, tensor.bits)
            }
            XCTAssertEqual(file.metadata, format == .safetensors ? ["format": "pt"] : [:])
        }
        for (_, tensor) in tensors {
            let path = "\(folder.path)/one.npy"
            try WeightWriter.writeArray(tensor, to: path)
            let file = try WeightFile.open(path)
            XCTAssertEqual(file.container, .npy)
            XCTAssertEqual(try file.tensor("array").shape, tensor.shape)
            XCTAssertEqual(try file.tensor("array").bits, tensor.bits)
        }
    }

    func testEqualContentGivesEqualBytes() throws {
        let folder = try TemporaryFolder()
        let model = try model()
        for format in WeightFormat.allCases {
            let files = try ["first", "second"].map { name in
                let path = "\(folder.path)/\(name)"
                try model.save(to: path, format: format)
                return try Data(contentsOf: URL(fileURLWithPath: path))
            }
            XCTAssertEqual(files[0], files[1])
        }
    }

    func testAFileIsReplacedWholeOrNotAtAll() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/model.safetensors"
        let model = try model()
        try model.save(to: path)
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        // A model whose values are views of the file may be written over that very file.
        let mapped = try Model(graph: model.graph, from: try WeightFile.open(path))
        try mapped.save(to: path)
        XCTAssertEqual(try Data(contentsOf: URL(fileURLWithPath: path)), whole)
        XCTAssertEqual(mapped["conv1.weight"].bits, model["conv1.weight"].bits)
        // A key that npz cannot hold is found after writing has begun.
        let long = String(repeating: "k", count: 40_000)
        let tensors = [(key: "a", tensor: model["fc.bias"]), (key: long, tensor: model["fc.bias"])]
        XCTAssertThrowsError(try WeightWriter.write(tensors, to: path, format: .npz)) {
            XCTAssertEqual(($0 as? WeightFileError)?.path, path)
            XCTAssertEqual(($0 as? WeightFileError)?.fault.kind, "cannotWrite")
        }
        XCTAssertEqual(try Data(contentsOf: URL(fileURLWithPath: path)), whole)
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path), ["model.safetensors"])
    }

    func testALinkIsFollowedAndOtherThingsAreRefused() throws {
        let folder = try TemporaryFolder()
        let model = try model()
        let target = "\(folder.path)/target.npz"
        let link = "\(folder.path)/link.npz"
        try model.save(to: target)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: target)
        try model.save(to: link)
        XCTAssertEqual(try FileManager.default.destinationOfSymbolicLink(atPath: link), target)
        for path in [folder.path, "/dev/null", "\(folder.path)/none/model.npz", "", "\(folder.path)/a\u{0}b"] {
            XCTAssertThrowsError(try model.save(to: path), path) {
                XCTAssertEqual(($0 as? WeightFileError)?.path, path)
                XCTAssertEqual(($0 as? WeightFileError)?.fault.kind, "cannotWrite")
            }
        }
        XCTAssertEqual(
            try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted(), ["link.npz", "target.npz"])
    }
}
