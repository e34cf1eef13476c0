// The learning rate range test (Smith, Cyclical Learning Rates for Training Neural Networks, 2017): train for some updates
// while the rate rises exponentially, and look at the loss.
//
//     loss |____                 a good rate is on the slope, where the loss falls fastest;
//          |    \___    /        the rate at the minimum is already too high
//          |        \__/
//          +--------------- learning rate (logarithmic)
//
// The loss is smoothed by an exponential average with bias correction. The backend is left as it was.

import Glibc
import ResNetData
import ResNetExecution
import ResNetSupport

/// A search for a learning rate to begin with (Smith, 2015): train while it grows, and see where the loss falls
/// fastest.
public struct LearningRateFinder: Sendable {
    /// An update of the search.
    public struct Point: Sendable, Hashable {
        /// Of this update, before the scales of groups.
        public let learningRate: Double
        /// Of its batch.
        public let loss: Double
        /// A moving average of the losses, without bias at the start.
        public let smoothed: Double
    }

    /// By update.
    public let points: [Point]
    /// Where the smoothed loss falls fastest; nil where it does not fall.
    public let suggestion: Double?
    /// Samples that could not be read in the first pass over the data, or when their features were computed.
    public let skipped: [SkippedSample]

    /// Trains with a rate that grows by a factor from update to update, and puts the state back as it was.
    /// - Parameters:
    ///   - backend: what would train, with its loss and optimizer.
    ///   - data: the training part of it is used, over and over.
    ///   - lowest: the first rate.
    ///   - highest: the last rate.
    ///   - updates: at most; the search ends where the loss is four times the best, or no number.
    ///   - smoothing: of the losses: the weight of what went before, in 0..<1.
    ///   - seed: of order and augmentation.
    ///   - featureCacheLimit: bytes that features of a frozen backbone may take, which are then computed once.
    ///   - progress: called after each update.
    ///   - stopRequested: true ends the search with what there is.
    /// - Throws: `TrainingError.settings` for rates or counts that make no sense, and what the backend and the data
    ///   throw.
    public static func run(
        _ backend: any TrainingBackend, data: TrainingData, from lowest: Double = 1e-7, to highest: Double = 10,
        updates: Int = 100, smoothing: Double = 0.9, seed: UInt64 = 0, featureCacheLimit: Int = 1 << 30,
        progress: (_ done: Int, _ of: Int) -> Void = { _, _ in },
        stopRequested: () -> Bool = { false }
    ) throws -> LearningRateFinder {
        guard lowest > 0, highest > lowest, highest.isFinite else {
            throw TrainingError.settings(
                field: "learning rates", expected: "a positive one and a higher one", found: "\(lowest) and \(highest)")
        }
        guard updates >= 2, (0..<1).contains(smoothing) else {
            throw TrainingError.settings(field: "updates", expected: "at least 2", found: "\(updates)")
        }
        let trainsBatchNorm = backend.graph.trainsBatchNorm(frozen: backend.frozen)
        let loader = try BatchLoader(
            data.training,
            data.loaderSettings(
                seed: seed, forTraining: true, dropsSingleSample: trainsBatchNorm && data.batchSize > 1))
        guard loader.batchesPerEpoch > 0 else {
            throw TrainingError.settings(
                field: "training data", expected: "more than one sample", found: "\(data.training.count)")
        }
        var cache: FeatureCache?
        // Where the search is shorter than an epoch, computing all features would take longer than the search.
        let seen = updates * data.batchSize
        if seen > data.training.count,
            data.hasConstantFeatures(
                backend.graph, frozen: backend.frozen, shape: loader.pictureShape, samples: data.training.count,
                limit: featureCacheLimit)
        {
            cache = try FeatureCache(
                BatchLoader(data.training, data.loaderSettings(seed: seed, forTraining: false)), backend)
        }
        let before = try backend.exportState()
        let result = Result { () throws in
            try search(
                backend, loader, cache, lowest, highest, updates, smoothing, progress: progress,
                stopRequested: stopRequested)
        }
        try backend.importState(before)
        let found = try result.get()
        return LearningRateFinder(points: found.points, skipped: found.skipped + (cache?.skipped ?? []))
    }

    private static func search(
        _ backend: any TrainingBackend, _ loader: BatchLoader, _ cache: FeatureCache?, _ lowest: Double,
        _ highest: Double, _ updates: Int, _ smoothing: Double, progress: (Int, Int) -> Void, stopRequested: () -> Bool
    ) throws -> (points: [Point], skipped: [SkippedSample]) {
        var points: [Point] = []
        var (average, best) = (0.0, Double.infinity)
        var skipped: [SkippedSample] = []
        var epoch = 0
        while true {
            let stream = cache == nil ? loader.batches(epoch: epoch) : nil
            let before = points.count
            for samples in loader.plan(epoch: epoch) {
                var next = cache?.batch(samples, loader)
                if let loaded = stream?.nextBatch() {
                    if epoch == 0 { skipped += loaded.skipped }
                    guard skipped.count <= loader.skipLimit else {
                        throw DatasetError.tooManySkipped(
                            limit: loader.skipLimit, of: loader.slice.count, skipped: skipped)
                    }
                    next = loaded.batch
                }
                guard let batch = next else { continue }
                let step = points.count
                let rate = lowest * pow(highest / lowest, Double(step) / Double(updates - 1))
                let result = try backend.train(
                    batch,
                    StepSettings(
                        step: step,
                        learningRates: backend.plan.groups.map { Float(rate * Double($0.learningRateScale)) }))
                guard result.loss.isFinite else { return (points, skipped) }
                average = smoothing * average + (1 - smoothing) * result.loss
                let smoothed = average / (1 - pow(smoothing, Double(step + 1)))
                points.append(Point(learningRate: rate, loss: result.loss, smoothed: smoothed))
                progress(points.count, updates)
                best = min(best, smoothed)
                if points.count == updates || smoothed > 4 * best || stopRequested() { return (points, skipped) }
            }
            guard points.count > before else { return (points, skipped) }
            epoch += 1
        }
    }

    init(points: [Point], skipped: [SkippedSample] = []) {
        self.points = points
        self.skipped = skipped
        guard let lowest = points.indices.min(by: { points[$0].smoothed < points[$1].smoothed }), lowest > 0 else {
            suggestion = nil
            return
        }
        // The first points are too few for an average; the slope counts from one to the next in the logarithm, which
        // has equal steps.
        let slopes = (min(points.count / 10, lowest - 1)..<lowest).map { index in
            (points[index + 1].smoothed - points[index].smoothed, points[index].learningRate)
        }
        let steepest = slopes.min { $0.0 < $1.0 }
        suggestion = steepest.flatMap { $0.0 < 0 ? $0.1 : nil }
    }

    /// Loss over the learning rate, the suggestion marked.
    package var chart: LineChart {
        // Where the loss explodes, the rest would be a flat line beside it.
        let limit = 1.5 * (points.first?.smoothed ?? 0)
        var chart = LineChart(
            title: "Learning rate search", xLabel: "learning rate", yLabel: "loss",
            series: [
                .init(name: "smoothed", points: points.map { .init($0.learningRate, min($0.smoothed, limit)) }),
                .init(name: "each batch", points: points.map { .init($0.learningRate, min($0.loss, limit)) }),
            ], hasLogarithmicX: true)
        if let suggestion { chart.mark = .init(x: suggestion, text: "steepest: \(rateText(suggestion))") }
        return chart
    }

    /// The chart of loss over learning rate, as an SVG file.
    public var svg: String { LineChart.svg([chart]) }

    /// A line for each point: rate, loss, smoothed loss.
    public var table: String {
        var table = TextTable(["learning rate", "loss", "smoothed"], rightAligned: [0, 1, 2])
        for point in points {
            table.rows.append([rateText(point.learningRate), fixed(point.loss, 4), fixed(point.smoothed, 4)])
        }
        return table.text
    }
}

/// Two significant digits: `0.0032`, `1.2e-06`.
public func rateText(_ rate: Double) -> String {
    guard rate > 0, rate.isFinite else { return "\(rate)" }
    var exponent = Int(floor(log10(rate) + 1e-9))
    var mantissa = (rate / pow(10, Double(exponent)) * 10).rounded() / 10
    if mantissa >= 10 { (mantissa, exponent) = (1, exponent + 1) }
    if -4...3 ~= exponent { return trimmed(fixed(mantissa * pow(10, Double(exponent)), max(1 - exponent, 0))) }
    return "\(trimmed(fixed(mantissa, 1)))e\(exponent)"
}

private func trimmed(_ decimal: String) -> String {
    guard decimal.contains(".") else { return decimal }
    var text = decimal
    while text.last == "0" { text.removeLast() }
    if text.last == "." { text.removeLast() }
    return text
}
