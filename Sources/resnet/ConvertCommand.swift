// resnet convert: any container in, safetensors or npz out.

import ArgumentParser
import ResNetSwift

struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Rewrites weights as .safetensors or .npz, under torchvision's names, in float32.",
        discussion: """
            Reads PyTorch .pth (zip, stream and tar), safetensors and npz, told by content. Metadata comes along; class \
            names and a transform can be added. Tensors that are no floating point, such as PyTorch's counters of batches, \
            are left out. The output appears whole or not at all.

            EXAMPLES
              resnet convert resnet50.pth resnet50.safetensors
              resnet convert model.safetensors model.npz --labels names.txt --transform imagenet-v2
            """)

    @Argument(help: ArgumentHelp("A weight file.", valueName: "in"))
    var input: String
    @Argument(help: ArgumentHelp("A file that ends in .safetensors or .npz.", valueName: "out"))
    var output: String
    @Option(help: ArgumentHelp("Class names to add: one a line, or a JSON list.", valueName: "file"))
    var labels: String?
    @Option(
        help: ArgumentHelp(
            "A transform to add: imagenet, imagenet-v2, inception, cifar, digits, or a JSON file.", valueName: "name"))
    var transform: String?

    func validate() throws {
        guard WeightFormat(path: output) != nil else {
            throw ValidationError("\(output): expected a name that ends in .safetensors or .npz.")
        }
    }

    func run() throws {
        let file = try WeightFile.open(input)
        var metadata = file.metadata
        if metadata[MetadataKey.model] == nil, let name = try? file.guessModel().name {
            metadata[MetadataKey.model] = name
        }
        if let labels {
            let names = try ClassNames.read(labels)
            if let classes = try? file.guessModel().classes, classes != names.count {
                throw ToolError("\(labels): expected \(classes) class names for \(input), found \(names.count)")
            }
            metadata[MetadataKey.classes] = JSONValue.array(names.map(JSONValue.string)).text
        }
        if let transform { metadata[MetadataKey.transform] = try namedTransform(transform).json }

        var tensors: [(key: String, tensor: Tensor)] = []
        var left: [String] = []
        for entry in file.entries {
            if entry.type.isFloatingPoint {
                tensors.append((entry.name, try file.tensor(entry.key)))
            } else {
                left.append(entry.key)
            }
        }
        guard !tensors.isEmpty else { throw ToolError("\(input): expected tensors of floating point, found none") }
        try WeightWriter.write(tensors, metadata: metadata, to: output, format: WeightFormat(path: output)!)
        let counters = left.filter { $0.hasSuffix("num_batches_tracked") }.count
        if left.count > counters {
            let names = left.filter { !$0.hasSuffix("num_batches_tracked") }
            Terminal.warning("left out, as they are no floating point: \(names.joined(separator: ", "))")
        }
        Terminal.note("\(output): \(tensors.count) tensors" + (counters > 0 ? ", \(counters) counters left out" : ""))
    }
}
