// resnet inspect: what is in a weight file, and of which model it is.

import ArgumentParser
import Glibc
import ResNetSwift

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Shows what is in a weight file: container, tensors, metadata, and the model it fits.",
        discussion: """
            Nothing is executed and no tensor is read. The container is recognized by content. For a file written by --packed, \
            it shows what the weights were packed for and compares the checksum of the whole file; other commands do not.

            EXAMPLES
              resnet inspect resnet50.pth
              resnet inspect model.safetensors --model resnet18
              resnet inspect model.npz --json
              resnet inspect resnet50.packed
            """)

    @Argument(help: ArgumentHelp("A weight file.", valueName: "file"))
    var file: String
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The model to compare with; default: inferred from the file.", valueName: "name"))
    var model: String?
    @OptionGroup var part: WeightPartOptions
    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        let asked = try model.map { (name) throws(ModelError) in try ModelName(named: name) }
        if let packed = try packedWeights() {
            try packed.check()
            if json {
                Output.json(
                    JSONValue(
                        ("path", .string(file)), ("container", .string("packed weights")),
                        ("bytes", .integer(packed.bytes)), ("packed_for", .string(packed.madeFor)),
                        ("sound", .bool(true))
                    ))
            } else {
                Output.line("\(file): packed weights, \(packed.bytes.grouped) bytes, contents sound")
                Output.line("packed for  \(packed.madeFor)")
            }
            return
        }
        if Model.isONNX(file) { return try inspectNetwork() }
        let opened = try part.open(file)
        let match = Match(opened, asked)
        if json { Output.json(object(opened, match)) } else { text(opened, match) }
    }

    /// An ONNX file: the network it describes, and the weights as they are called here.
    private func inspectNetwork() throws {
        let loaded = try Classifier.open(file, named: model, part, ClassifierOptions())
        let network = loaded.model
        let specs = network.graph.parameters
        let metadata = network.metadata.sorted { $0.key < $1.key }
        if json {
            return Output.json(
                JSONValue(
                    ("path", .string(file)), ("container", .string("onnx")), ("bytes", .integer(bytes)),
                    ("model", .string(loaded.name)), ("fits", .bool(true)),
                    ("input_channels", .integer(loaded.inputChannels)),
                    ("classes", .integer(loaded.classCount)),
                    ("metadata", .object(metadata.map { JSONMember(key: $0.key, value: .string($0.value)) })),
                    (
                        "tensors",
                        .array(
                            specs.map { spec in
                                JSONValue(
                                    ("name", .string(spec.name)), ("shape", .array(spec.shape.map(JSONValue.integer))))
                            })
                    )))
        }
        let values = specs.reduce(0) { $0 + network[$1.name].count }
        Output.line("\(file): ONNX, \(bytes.grouped) bytes, \(specs.count) tensors, \(values.grouped) values")
        Output.line("model       \(loaded.name), \(loaded.inputChannels) input channels, \(loaded.classCount) classes")
        Output.line("network     \(network.graph.nodes.count) layers")
        for (key, value) in metadata where key != MetadataKey.model {
            Output.line(key + String(repeating: " ", count: max(12 - key.count, 1)) + value)
        }
        var table = TextTable(["tensor", "shape", "values"], rightAligned: [2])
        for spec in specs {
            table.rows.append([
                spec.name, spec.shape.map(String.init).joined(separator: "x"), network[spec.name].count.grouped,
            ])
        }
        Output.text("\n" + table.text)
    }

    /// Nil if the file is something else.
    private func packedWeights() throws -> PackedWeights? {
        do throws(PackedWeightsError) { return try PackedWeights(path: file) } catch {
            switch error.fault {
            case .notPackedWeights, .file: return nil
            default: throw error
            }
        }
    }

    /// The model of the file, or why there is none.
    private struct Match {
        var name: String?
        var graph: Graph?
        var report: LoadReport?
        var refusal: String?

        init(_ file: WeightFile, _ asked: ModelName?) {
            do {
                let (graph, name) = try file.graph(named: asked)
                self.name = name
                self.graph = graph
                let report = file.report(for: graph)
                self.report = report
                if !report.isComplete {
                    refusal = "does not fit the model: \(report)"
                } else if !graph.isBackbone, let names = file.classNames {
                    refusal = graph.fault(inClassNames: names.count, network: name)
                }
            } catch { refusal = "\(error.fault)" }
        }
    }

    private var bytes: Int { file.fileStatus.map { Int($0.st_size) } ?? 0 }

    private func text(_ opened: WeightFile, _ match: Match) {
        let values = opened.entries.reduce(0) { $0 + $1.count }
        Output.line(
            "\(file): \(opened.container.title), \(bytes.grouped) bytes, \(opened.entries.count) tensors, "
                + "\(values.grouped) values")
        func fact(_ key: String, _ value: String) {
            Output.line(key + String(repeating: " ", count: max(12 - key.count, 1)) + value)
        }
        if let name = match.name, let graph = match.graph {
            let classes = graph.classCount.map { "\($0) classes" } ?? "no classifier"
            fact("model", "\(name), \(graph.inputChannels ?? 0) input channels, \(classes)")
        }
        fact(match.refusal == nil ? "fits" : "refused", match.refusal ?? match.report.map { "\($0)" } ?? "")
        if !opened.wrapper.isEmpty { fact("found under", opened.wrapper.joined(separator: " > ")) }
        if !opened.prefix.isEmpty { fact("prefix", opened.prefix) }
        for note in opened.notes { fact("note", note) }
        for (key, value) in opened.metadata.sorted(by: { $0.key < $1.key }) {
            fact(
                key,
                opened.facts[key] == nil && MetadataKey.own.contains(key)
                    ? "\(value) (not this library's; ignored)" : value)
        }
        for tensor in opened.unread { fact("not read", "\(tensor.key): \(tensor.reason)") }
        if !opened.ignored.isEmpty { fact("not read", opened.ignored.joined(separator: ", ")) }
        var table = TextTable(["tensor", "type", "shape", "values", "access"], rightAligned: [3])
        for entry in opened.entries {
            let name = entry.key == entry.name ? entry.key : "\(entry.key) = \(entry.name)"
            table.rows.append([
                name, entry.type.rawValue, entry.shape.map(String.init).joined(separator: "x"), entry.count.grouped,
                entry.isView ? "in place" : "converted",
            ])
        }
        Output.text("\n" + table.text)
    }

    private func object(_ opened: WeightFile, _ match: Match) -> JSONValue {
        let tensors = opened.entries.map { entry in
            JSONValue(
                ("key", .string(entry.key)), ("name", .string(entry.name)), ("type", .string(entry.type.rawValue)),
                ("shape", .array(entry.shape.map(JSONValue.integer))), ("in_place", .bool(entry.isView)))
        }
        let metadata = opened.metadata.sorted { $0.key < $1.key }
        return JSONValue(
            ("path", .string(file)), ("container", .string(opened.container.rawValue)), ("bytes", .integer(bytes)),
            ("model", match.name.map(JSONValue.string) ?? .null), ("fits", .bool(match.refusal == nil)),
            ("refused", match.refusal.map(JSONValue.string) ?? .null),
            ("wrapper", .array(opened.wrapper.map(JSONValue.string))), ("prefix", .string(opened.prefix)),
            ("notes", .array(opened.notes.map(JSONValue.string))),
            (
                "unread",
                .array(opened.unread.map { JSONValue(("key", .string($0.key)), ("reason", .string($0.reason))) })
            ),
            ("ignored", .array(opened.ignored.map(JSONValue.string))),
            ("metadata", .object(metadata.map { JSONMember(key: $0.key, value: .string($0.value)) })),
            ("tensors", .array(tensors)))
    }
}
