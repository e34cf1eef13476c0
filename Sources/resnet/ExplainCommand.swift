// resnet explain: what did the network look at?

import ArgumentParser
import ResNetSwift

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Shows where on a picture its class comes from.",
        discussion: """
            Writes the picture as the network sees it, colored where it speaks for the class (a class activation map). The values \
            behind the colors add up to the class's logit, but for the bias; --values writes them.

            EXAMPLES
              resnet explain photo.jpg --weights resnet50.pth --out heat.png
              resnet explain photo.jpg --weights run/best.safetensors --class cat --out cat.png --values cat.npy
            """)

    @Argument(help: ArgumentHelp("A picture.", valueName: "image"))
    var image: String
    @OptionGroup var weights: WeightOptions
    @Option(name: .shortAndLong, help: ArgumentHelp("Where the colored picture goes.", valueName: "png"))
    var out: String
    @Option(
        name: .customLong("class"),
        help: ArgumentHelp(
            "The class to explain, by name or index; otherwise the most probable one.", valueName: "class"))
    var asked: String?
    @Option(
        help: ArgumentHelp(
            "What each place of the last feature map adds to the logit, (height, width).", valueName: "npy"))
    var values: String?
    @Option(help: ArgumentHelp("How a picture becomes input, as in `classify`.", valueName: "name"))
    var transform: String?
    @Option(name: .shortAndLong, help: ArgumentHelp("Threads; 0 means the physical cores.", valueName: "n"))
    var threads = 0
    @Flag(help: "One JSON object: path, class, index, probability, logit, rest, height, width, values.")
    var json = false

    func validate() throws {
        guard 0...1024 ~= threads else { throw ValidationError("--threads must be 0 to 1024, not \(threads).") }
    }

    func run() throws {
        var options = ClassifierOptions(threads: threads)
        options.transform = try transform.map(namedTransform)
        let classifier = try weights.load(options)
        let explanation = try classifier.explain(
            .file(image), class: try asked.map { try index(of: $0, in: classifier) })
        try explanation.heat.writePNG(to: out)
        let map = explanation.map
        if let values {
            try WeightWriter.writeArray(Tensor(shape: [map.height, map.width], values: map.values), to: values)
        }
        let score = explanation.score
        guard json else {
            Output.text("\(score.name)  \(fixed(100 * score.probability, 2))%  logit \(fixed(Double(map.logit), 4))")
            return
        }
        Output.json(
            JSONValue(
                ("path", .string(image)), ("class", .string(score.name)), ("index", .integer(score.index)),
                ("probability", .number(score.probability)), ("logit", .number(Double(map.logit))),
                ("rest", .number(Double(map.rest))), ("height", .integer(map.height)), ("width", .integer(map.width)),
                ("values", .array(map.values.map { .number(Double($0)) }))))
    }

    /// A name counts before a number, as classes may be called by numbers.
    private func index(of asked: String, in classifier: Classifier) throws -> Int {
        if let index = classifier.classNames?.firstIndex(of: asked) { return index }
        if let index = Int(asked), (0..<classifier.classCount).contains(index) { return index }
        throw ToolError(
            "--class: expected the name of a class, or a number below \(classifier.classCount), found '\(asked)'")
    }
}
