// resnet convert: any container in, safetensors, npz or ONNX out.

import ArgumentParser
import ResNetSwift

struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Rewrites weights as .safetensors, .npz or .onnx, under torchvision's names, in float32.",
        discussion: """
            Reads PyTorch .pth (zip, stream and tar), safetensors, npz and ONNX, recognized by content. ONNX holds the \
            whole network, the others its weights. Metadata comes along; class names and a transform can be added. \
            Tensors that are not floating point, such as PyTorch's batch counters, are left out. Quantized weights become \
            floats, but to and from ONNX they stay 8 bits (QuantizeLinear, DequantizeLinear). The output is written \
            completely or not at all.

            EXAMPLES
              resnet convert resnet50.pth resnet50.safetensors
              resnet convert resnet50.pth resnet50.onnx
              resnet convert model.safetensors model.npz --labels names.txt --transform imagenet-v2
            """)

    @Argument(help: ArgumentHelp("A weight file.", valueName: "in"))
    var input: String
    @Argument(help: ArgumentHelp("A file that ends in .safetensors, .npz or .onnx.", valueName: "out"))
    var output: String
    @OptionGroup var part: WeightPartOptions
    @Option(help: ArgumentHelp("Class names to add: one a line, or a JSON list.", valueName: "file"))
    var labels: String?
    @Option(
        help: ArgumentHelp(
            "A transform to add: imagenet, imagenet-v2, inception, cifar, digits, or a JSON file.", valueName: "name"))
    var transform: String?

    func validate() throws {
        guard WeightFormat(path: output) != nil || writesONNX else {
            throw ValidationError("\(output): expected a name that ends in .safetensors, .npz or .onnx.")
        }
    }

    private var writesONNX: Bool { output.hasSuffix(".onnx") }

    func run() throws {
        if writesONNX || Model.isONNX(input) { return try convertNetwork() }
        let file = try part.open(input)
        let model = try recognized(file)
        var metadata = model?.metadata ?? file.portableMetadata
        try add(to: &metadata, model, of: file)
        try write(try tensors(of: file, model), metadata, left: left(of: file, model))
    }

    /// What the options add.
    private func add(to metadata: inout [String: String], _ model: Model?, of file: WeightFile? = nil) throws {
        if let labels {
            let names = try readClassNames(labels)
            if let model {
                let network = model.metadata[MetadataKey.model] ?? model.graph.modelName
                if let fault = model.graph.fault(inClassNames: names.count, network: network) {
                    throw ToolError("\(labels): \(fault)")
                }
            } else if let classes = try? file?.guessModel().classes, classes != names.count {
                throw ToolError("\(labels): expected \(classes) class names for \(input), found \(names.count)")
            }
            metadata[MetadataKey.classes] = JSONValue.array(names.map(JSONValue.string)).text
        }
        if let transform { metadata[MetadataKey.transform] = try namedTransform(transform).json }
    }

    /// From or to ONNX: the network has to be known, not its weights alone.
    private func convertNetwork() throws {
        let loaded = try Classifier.open(input, named: nil, part, ClassifierOptions())
        var model = loaded.model
        try add(to: &model.metadata, model)
        if let format = WeightFormat(path: output) {
            guard loaded.isKnownByName else {
                throw ToolError(
                    "\(input): \(output) would hold weights without their network, which only an ONNX file describes here"
                )
            }
            try model.save(to: output, format: format)
        } else {
            try model.writeONNX(to: output)
        }
        Terminal.note("\(output): \(model.parameters.count) tensors of \(loaded.name)")
    }

    /// The network of the file; nil where it holds something else, which is rewritten as it is.
    private func recognized(_ file: WeightFile) throws -> Model? {
        do throws(WeightFileError) {
            let (graph, _) = try file.graph()
            guard file.report(for: graph).isComplete else { return nil }
            return try Model(from: file, checksClassNames: labels == nil)
        } catch {
            switch error.fault {
            // Rewritten, nobody would know any more what they are.
            case .ambiguous, .otherNetwork, .classNames: throw error
            default: return nil
            }
        }
    }

    /// Of a network what belongs to it, under the model's names; of anything else all that is floating point.
    private func tensors(of file: WeightFile, _ model: Model?) throws -> [(key: String, tensor: Tensor)] {
        let wanted = model.map { Set($0.parameters.keys) }
        var tensors: [(key: String, tensor: Tensor)] = []
        for entry in file.entries where entry.isWeight {
            if let wanted {
                guard wanted.contains(entry.name), file.entry(named: entry.name)?.key == entry.key else { continue }
            }
            tensors.append((entry.name, try file.tensor(entry.key)))
        }
        guard !tensors.isEmpty else { throw ToolError("\(input): expected tensors of floating point, found none") }
        return tensors
    }

    private func left(of file: WeightFile, _ model: Model?) -> [String] {
        let kept = model.map { Set($0.parameters.keys) }
        return file.entries.filter { entry in
            guard entry.isWeight else { return true }
            return kept.map { !$0.contains(entry.name) } ?? false
        }.map(\.key)
    }

    private func write(
        _ tensors: [(key: String, tensor: Tensor)], _ metadata: [String: String], left: [String]
    ) throws {
        try WeightWriter.write(tensors, metadata: metadata, to: output, format: WeightFormat(path: output)!)
        let counters = left.filter { $0.hasSuffix("num_batches_tracked") }.count
        if left.count > counters {
            let names = left.filter { !$0.hasSuffix("num_batches_tracked") }
            Terminal.warning("left out, as they are no weights of the network: \(names.joined(separator: ", "))")
        }
        Terminal.note("\(output): \(tensors.count) tensors" + (counters > 0 ? ", \(counters) counters left out" : ""))
    }
}
