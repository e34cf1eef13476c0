// resnet time: how fast, how soon, how much memory.

import ArgumentParser
import Glibc
import ResNetSwift

struct TimeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "time",
        abstract: "Times a network or a training step: median, pictures a second, time to the first result, memory.",
        discussion: """
            The first result is computed right after planning; its time counts from the start of the process. Then follow a \
            warm-up and runs until the seconds are over. Pictures a second are all pictures over all the time; the median \
            and the fastest run are reported too. JSON keys: model batch threads isa dtype median_ms min_ms \
            images_per_s samples plan_s first_result_s peak_rss_mib. With --train a run is a step on random pictures: forward, \
            backward and update (SGD with momentum).

            EXAMPLES
              resnet time --model resnet50 --batch 8 --threads 2
              resnet time --weights resnet50.safetensors --seconds 10 --json
              resnet time --model resnet18 --train --freeze allButHead --batch 32
            """)

    @OptionGroup var model: AnyModelOptions
    @Option(name: .shortAndLong, help: ArgumentHelp("Pictures at a time.", valueName: "n"))
    var batch = 1
    @Option(name: .shortAndLong, help: ArgumentHelp("How long to measure.", valueName: "s"))
    var seconds = 5.0
    @OptionGroup var compute: ComputeOptions
    @Flag(help: "Time a training step.")
    var train = false
    @Option(help: ArgumentHelp("With --train: what does not train, as in `train`.", valueName: "policy"))
    var freeze: String?
    @Option(help: ArgumentHelp("With --train: save memory, compute twice.", valueName: "what"))
    var checkpointing: Checkpointing?
    @Flag(help: "One JSON object.")
    var json = false

    func validate() throws {
        try checkBatch(batch)
        guard seconds >= 0, seconds <= 86400 else {
            throw ValidationError("--seconds must be 0 to 86400, not \(seconds).")
        }
        if !train && (freeze != nil || checkpointing != nil) {
            throw ValidationError("--freeze and --checkpointing need --train.")
        }
        if train && (compute.wisdom != nil || compute.packed != nil || compute.precision != nil) {
            throw ValidationError("--wisdom, --packed and --precision are for inference, not for --train.")
        }
    }

    /// Fewer runs have no median to speak of.
    private static let fewestSamples = 5
    private static let warmUpShare = 0.1

    func run() throws {
        let loaded = try model.load(compute, batch: batch)
        let planning = ProcessClock.now()
        let subject = try train ? training(loaded) : inference(loaded)
        let planned = ProcessClock.now()
        let once = subject.once
        try once()
        let firstResult = ProcessClock.now() - ProcessClock.started

        let warm = ProcessClock.now() + seconds * Self.warmUpShare
        repeat { try once() } while ProcessClock.now() < warm
        var samples: [Double] = []
        var progress = Progress(total: max(Int(seconds), 1), unit: "seconds")
        let began = ProcessClock.now()
        var now = began
        while now - began < seconds || samples.count < Self.fewestSamples {
            try once()
            let end = ProcessClock.now()
            samples.append(end - now)
            progress.advance(by: Int(end - began) - progress.done)
            now = ProcessClock.now()
        }
        progress.hide()
        let elapsed = now - began
        samples.sort()
        try report(
            Measurement(
                median: samples[samples.count / 2], minimum: samples[0], samples: samples.count, elapsed: elapsed,
                planning: planned - planning, firstResult: firstResult),
            loaded, subject)
    }

    /// What is timed.
    private struct Subject {
        let announcement: String
        let threads: Int
        let precision: Precision
        let once: () throws -> Void
    }

    private func inference(_ loaded: Classifier) throws -> Subject {
        let plan = try loaded.plan()
        let workspace = try plan.makeWorkspace()
        let pictures = randomPictures([plan.input.count * batch])
        return Subject(announcement: try loaded.announcement(plan), threads: plan.threads, precision: plan.precision) {
            try pictures.withUnsafeFloats { try plan.run($0, images: batch, in: workspace) }
        }
    }

    /// The learning rate is 0, so that random labels lead nowhere; the work is the same.
    private func training(_ loaded: Classifier) throws -> Subject {
        let isa = try Machine.instructionSet()
        try loaded.requireHead()
        let policy = freeze ?? "none"
        let model = try loaded.model.freezing(FreezePolicy(parsing: policy))
        let size = loaded.inputSize
        let input = ImageShape(channels: loaded.inputChannels, height: size.height, width: size.width)
        let classes = loaded.classCount
        let isYesNo = classes == 1
        let plan: TrainingPlan
        do {
            plan = try TrainingPlan(
                model: model, input: input, batchLimit: batch,
                plan: OptimizationPlan(
                    loss: isYesNo ? .binaryCrossEntropy() : .crossEntropy(), optimizer: .sgd(momentum: 0.9),
                    groups: ParameterGroup.single(model.graph, weightDecay: 1e-4)),
                options: TrainingOptions(
                    threads: compute.threads, accuracy: compute.accuracy, checkpointing: checkpointing ?? .none))
        } catch { throw ToolError("\(loaded.name) on pictures of \(size): \(error)") }
        let labels: BatchLabels =
            isYesNo
            ? .multiHot(Tensor(shape: [batch, 1], values: (0..<batch).map { Float($0 % 2) }))
            : .classes((0..<batch).map { Int32($0 % classes) })
        let pictures = TrainingBatch(
            input: .floats(randomPictures([batch, input.channels, input.height, input.width])), labels: labels)
        var step = 0
        let threads = plan.threads == 1 ? "1 thread" : "\(plan.threads) threads"
        return Subject(
            announcement:
                "training step, frozen \(policy): \(loaded.name) (\(loaded.origin)), \(size), \(isa), \(threads)",
            threads: plan.threads, precision: .float32
        ) {
            _ = try plan.train(pictures, StepSettings(step: step, learningRates: [0]))
            step += 1
        }
    }

    /// Times in seconds.
    private struct Measurement {
        let median: Double
        let minimum: Double
        let samples: Int
        /// All of them together.
        let elapsed: Double
        let planning: Double
        let firstResult: Double
    }

    private func report(_ measured: Measurement, _ loaded: Classifier, _ subject: Subject) throws {
        let rate = Double(batch * measured.samples) / measured.elapsed
        func rounded(_ value: Double) -> JSONValue { .number((value * 1e6).rounded() / 1e6) }
        if json {
            Output.json(
                JSONValue(
                    ("model", .string(loaded.name)), ("batch", .integer(batch)), ("threads", .integer(subject.threads)),
                    ("isa", .string(try Machine.instructionSet())), ("dtype", .string(subject.precision.rawValue)),
                    ("median_ms", rounded(1000 * measured.median)), ("min_ms", rounded(1000 * measured.minimum)),
                    ("images_per_s", rounded(rate)), ("samples", .integer(measured.samples)),
                    ("plan_s", rounded(measured.planning)), ("first_result_s", rounded(measured.firstResult)),
                    ("peak_rss_mib", rounded(ProcessClock.peakMemory))
                ))
            return
        }
        Output.text(
            """
            \(subject.announcement), batch \(batch), \(subject.precision.rawValue)
            median        \(fixed(1000 * measured.median, 2)) ms of \(measured.samples) runs, \
            fastest \(fixed(1000 * measured.minimum, 2)) ms
            throughput    \(fixed(rate, 1)) pictures a second
            plan          \(fixed(1000 * measured.planning, 0)) ms
            first result  \(fixed(1000 * measured.firstResult, 0)) ms after the process started
            memory        \(fixed(ProcessClock.peakMemory, 0)) MiB at most
            """)
    }

    /// Values as normalized pictures have them: zeros would be kinder to a CPU than real work.
    private func randomPictures(_ shape: [Int]) -> Tensor {
        Tensor(
            shape: shape,
            storage: FloatStorage(count: shape.reduce(1, *)) {
                CounterRandom(seed: 0).fillUniform($0, low: -2, high: 2)
            })
    }
}
