// Fuzzing of everything that reads what others wrote.
//
//     fuzz TARGET [libFuzzer's options] [corpus folders]
//
// An input may be refused, by an error; it may not crash, hang, or ask for more memory than it is worth. Asserts and
// address checks are on.

import CFuzzer
import CKernels
import Glibc
import ResNetSwift

/// Chosen once, before the first input.
nonisolated(unsafe) private var chosen: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { _, _ in 0 }

/// A file that holds the input, for readers that take paths. In memory, and the process's own.
private let scratch = "/dev/shm/resnet_fuzz_\(getpid())"

/// A folder with the weights of a small network, made when its target begins.
private let folder = "/dev/shm/resnet_fuzz_folder_\(getpid())"

private func makeFolder() {
    mkdir(folder, 0o755)
    do {
        let graph = try CIFARResNetConfig(nBlocks: [1, 1, 1], channels: [4, 8, 16]).graph(classes: 3)
        try Model.initialized(graph, seed: 1).save(to: "\(folder)/model.safetensors")
    } catch { fatalError("\(folder): \(error)") }
}

private func removeFolder() {
    for name in ["config.json", "preprocessor_config.json", "model.safetensors.index.json", "model.safetensors"] {
        unlink("\(folder)/\(name)")
    }
    rmdir(folder)
}

private func writeScratch(_ bytes: [UInt8]) {
    guard let file = fopen(scratch, "wb") else { fatalError("\(scratch) cannot be written") }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
}

private func array(_ start: UnsafePointer<UInt8>?, _ count: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: start, count: count))
}

@main
enum Fuzz {
    /// Every container of weights (recognized by content), the npy header, zip, deflate, tar, the pickle machine, safetensors'
    /// JSON, the names, the guess of the model; then every tensor is read.
    private static let weights: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        guard let file = try? WeightFile.open(bytes: array(start, count), name: "fuzz") else { return -1 }
        for entry in file.entries where entry.count <= 1 << 20 {
            _ = try? file.tensor(entry.key)
            _ = try? file.bytes(entry.key)
        }
        if let graph = try? file.graph() { _ = file.report(for: graph.graph) }
        return 0
    }

    /// Protobuf, the operators, the graph they make, and its way out again.
    private static let onnx: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        guard let model = try? Model(onnx: array(start, count), name: "fuzz") else { return 0 }
        try? model.graph.validate(input: 33)
        try? model.writeONNX(to: scratch)
        return 0
    }

    private static let picture: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        let bytes = array(start, count)
        // The usual limit is far above what a fuzzer should spend time on.
        for channels in [nil, 1, 3] as [Int?] {
            _ = try? Picture(bytes: bytes, name: "fuzz", channels: channels, pixelLimit: 1 << 20)
        }
        return 0
    }

    /// A pickle of any protocol in a PyTorch archive, whose sums are right, and by itself.
    private static let pickle: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        let bytes = array(start, count)
        let storage = [UInt8](repeating: 0, count: 256)
        let archive = zipArchive([
            ("a/data.pkl", bytes[...]), ("a/byteorder", Array("little".utf8)[...]), ("a/data/0", storage[...]),
            ("a/data/1", storage[..<64]), ("a/version", [0x33]),
        ])
        for file in [archive, bytes] {
            guard let file = try? WeightFile.open(bytes: file, name: "fuzz") else { continue }
            for entry in file.entries where entry.count <= 1 << 20 { _ = try? file.tensor(entry.key) }
            if let graph = try? file.graph() { _ = file.report(for: graph.graph) }
        }
        return 0
    }

    /// Arrays of a data set in up to six members, which begin with a byte for the name; headers are NumPy's.
    private static let arrays: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        var rest = array(start, count)[...]
        let names = [
            "images", "labels", "x_train", "y_train", "x_val", "y_val", "test_images", "test_labels", "class_names",
            "z",
        ]
        var members: [(name: String, data: ArraySlice<UInt8>)] = []
        while rest.count > 3, members.count < 6 {
            let size = min(Int(rest[rest.startIndex + 1]) | Int(rest[rest.startIndex + 2]) << 8, rest.count - 3)
            let name = names[Int(rest[rest.startIndex]) % names.count]
            rest = rest.dropFirst(3)
            members.append(("\(name).npy", rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        let file = zipArchive(members)
        if let weights = try? WeightFile.open(bytes: file, name: "fuzz") {
            for entry in weights.entries where entry.count <= 1 << 20 { _ = try? weights.tensor(entry.key) }
        }
        writeScratch(file)
        _ = try? Dataset.arrays(npz: scratch)
        _ = try? Dataset.arrays(npz: scratch, classNames: ["cat", "dog", "owl"], multiLabel: true)
        return 0
    }

    /// config.json and preprocessor_config.json, a NUL between, in a folder with weights.
    private static let config: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        let files = parts(array(start, count), mark: 0, atMost: 3)
        for (name, bytes) in zip(["config.json", "preprocessor_config.json", "model.safetensors.index.json"], files) {
            guard let file = fopen("\(folder)/\(name)", "wb") else { return -1 }
            _ = bytes.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) }
            fclose(file)
        }
        if let file = try? WeightFile.open(folder), let model = try? Model(from: file) {
            _ = try? model.metadata["transform"].map(ImageTransform.init(json:))
        }
        return 0
    }

    /// Where pictures say how they are to be turned: EXIF and XMP in JPEG, EXIF and a raw profile in PNG.
    private static let orientation: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        let bytes = array(start, min(count, 65_000))
        let half = bytes.count / 2
        for file in [
            jpeg(exif: bytes[...], xmp: []), jpeg(exif: [], xmp: bytes[...]),
            jpeg(exif: bytes[..<half], xmp: bytes[half...]),
            png(text: bytes[...], exif: []), png(text: [], exif: bytes[...]),
        ] { _ = try? Picture(bytes: file, name: "fuzz") }
        return 0
    }

    private static let labels: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        writeScratch(array(start, count))
        _ = try? Dataset.csv(scratch, labels: .classes)
        _ = try? Dataset.csv(scratch, labels: .multiLabel(), root: "/")
        _ = try? Dataset.csv(scratch, labels: .classes, classNames: ["cat", "dog"])
        _ = try? Dataset.csvParts(scratch, labels: .classes, root: "/")
        _ = try? Dataset.csvParts(scratch, labels: .multiLabel(count: 3), root: "/", classNames: ["cat", "dog", "owl"])
        _ = try? Dataset.proteinAtlas(scratch, folder: "/")
        return 0
    }

    private static let json: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        let text = String(decoding: array(start, count), as: UTF8.self)
        _ = try? JSONValue.parse(text)
        _ = try? ImageTransform(json: text)
        return 0
    }

    private static let wisdom: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        writeScratch(array(start, count))
        ck_wisdom_forget()
        _ = ck_wisdom_load(scratch)
        return 0
    }

    private static let packed: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        writeScratch(array(start, count))
        if let file = try? PackedWeights(path: scratch) { _ = try? file.check() }
        return 0
    }

    /// The bytes are a description, field by field; if it is valid and small, it is packed and run too.
    private static let descriptor: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { start, count in
        var desc = ck_conv_desc()
        withUnsafeMutableBytes(of: &desc) { target in
            // The first byte says how wide the fields are: bytes reach valid shapes, whole words the validator's edges.
            guard count > 0, let start else { return }
            if start[0] & 1 == 0 {
                let words = target.bindMemory(to: Int32.self)
                for i in 0..<min(words.count, count - 1) { words[i] = Int32(start[i + 1]) }
            } else {
                for i in 0..<min(target.count, count - 1) { target[i] = start[i + 1] }
            }
        }
        desc.selection = CK_ESTIMATE
        var plan: OpaquePointer?
        guard ck_conv_plan_create(&desc, &plan) == CK_OK else { return 0 }
        defer { ck_conv_plan_destroy(plan) }
        run(plan, desc)
        return 0
    }

    private static func run(_ plan: OpaquePointer?, _ desc: ck_conv_desc) {
        func size(_ factors: Int32...) -> Int {
            factors.reduce(1) { product, factor in
                let (value, over) = product.multipliedReportingOverflow(by: max(Int(factor), 1))
                return over ? Int.max : value
            }
        }
        let height = (Int(desc.in_height) + 2 * Int(desc.pad_height))
        let width = (Int(desc.in_width) + 2 * Int(desc.pad_width))
        let most = 1 << 20
        let block = ck_block()
        let inputs = size(desc.batch, desc.in_channels + block, desc.in_height, desc.in_width)
        let kernel = size(desc.kernel_height, desc.kernel_width)
        guard inputs < most, height < 1 << 10, width < 1 << 10, kernel < 1 << 8, desc.threads <= 8,
            size(desc.out_channels, desc.in_channels) < 1 << 14,
            size(desc.batch, desc.out_channels + block) < 1 << 12
        else { return }
        let outputs = size(desc.batch, desc.out_channels + block) * height * width
        let weightCount = size(desc.out_channels, desc.in_channels) * kernel
        let packedSize = ck_conv_packed_size(plan)
        let workspaceSize = ck_conv_workspace_size(plan)
        let work = inputs / max(Int(desc.in_channels), 1) * weightCount
        guard outputs < most, packedSize < 1 << 26, workspaceSize < 1 << 26, work < 1 << 24 else { return }
        func memory(_ bytes: Int) -> UnsafeMutableRawPointer {
            let made = UnsafeMutableRawPointer.allocate(byteCount: max(bytes, 64), alignment: 64)
            memset(made, 0, max(bytes, 64))
            return made
        }
        let (packed, workspace) = (memory(packedSize), memory(workspaceSize))
        let weights = memory(4 * weightCount)
        let (x, y) = (memory(4 * max(inputs, weightCount)), memory(4 * max(outputs, weightCount)))
        // A gradient exchanges the two, and what it adds or overwrites is as large as the larger.
        let (residual, dst) = (
            memory(4 * max(inputs, outputs, weightCount)), memory(4 * max(inputs, outputs, weightCount))
        )
        let vector = memory(4 * (Int(max(desc.out_channels, desc.in_channels)) + 16))
        defer { for each in [packed, workspace, weights, x, y, residual, dst, vector] { each.deallocate() } }
        if packedSize > 0 { _ = ck_conv_pack(plan, weights.assumingMemoryBound(to: Float.self), nil, packed) }
        var args = ck_conv_args()
        args.src = UnsafeRawPointer(desc.pass == CK_DATA_GRADIENT ? y : x)
        args.packed = UnsafeRawPointer(packed)
        args.grad = UnsafePointer(y.assumingMemoryBound(to: Float.self))
        args.bias = UnsafePointer(vector.assumingMemoryBound(to: Float.self))
        args.src_scale = args.bias
        args.src_shift = args.bias
        args.residual = UnsafePointer(residual.assumingMemoryBound(to: Float.self))
        args.dst = dst.assumingMemoryBound(to: Float.self)
        args.workspace = workspace
        _ = ck_conv_run(plan, &args)
    }

    static func main() {
        let targets = [
            "weights": weights, "onnx": onnx, "picture": picture, "labels": labels, "json": json, "wisdom": wisdom,
            "descriptor": descriptor, "packed": packed, "pickle": pickle, "arrays": arrays, "config": config,
            "orientation": orientation,
        ]
        guard let target = CommandLine.arguments.dropFirst().first.flatMap({ targets[$0] }) else {
            print("usage: fuzz \(targets.keys.sorted().joined(separator: "|")) [libFuzzer's options] [corpus folders]")
            exit(64)
        }
        chosen = target
        if CommandLine.arguments[1] == "config" { makeFolder() }
        let status = cfuzzer_run(CommandLine.argc - 1, CommandLine.unsafeArgv + 1) { chosen($0, $1) }
        unlink(scratch)
        removeFolder()
        exit(status)
    }
}
