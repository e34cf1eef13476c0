// Any number of pictures through a classifier, in batches.

import ResNetData
import ResNetExecution
import ResNetGraph

extension Classifier {
    /// What happens while pictures run.
    public enum Event: Sendable {
        /// Pictures of a size came for the first time in this run, and this plan runs them.
        case planned(InferencePlan)
        /// A damaged picture that could be read; the decoder's words.
        case warning(picture: Int, String)
        /// A picture cannot be read, and has no answer.
        case failed(picture: Int, PictureError)
        /// What the network makes of these pictures, a row each.
        case answered(pictures: [Int], Prediction)
    }

    /// Runs pictures in batches, in order. Files are read and decoded by threads of their own, ahead of their use.
    /// - Parameters:
    ///   - pictures: any number.
    ///   - batch: pictures at once; nil means that of the options.
    ///   - report: receives every event; an error that it throws ends the run.
    /// - Throws: `ClassifierError` where the transform does not suit picture files, `ExecutionError`, and what `report`
    ///   throws. Pictures that cannot be read are events.
    public func run(_ pictures: [PictureInput], batch: Int? = nil, _ report: (Event) throws -> Void) throws {
        try run(pictures, batch: batch, asFloats: false, options.augmentation, report)
    }

    /// Takes pictures through the transform only, in order, decoded by several threads.
    package func read(
        _ pictures: [PictureInput], _ use: (Int, Result<Picture, PictureError>) throws -> Void
    ) throws {
        let stream = stream(pictures, try pictureTransform(), options.batch)
        defer { stream.stop() }
        while let next = stream.next() { try use(next.index, next.views.map { $0[0] }) }
    }

    private func stream(
        _ pictures: [PictureInput], _ transform: ImageTransform, _ batch: Int, views: [PictureView] = [PictureView()]
    ) -> PictureStream {
        let threads = options.threads > 0 ? options.threads : Machine.defaultThreads
        return PictureStream(
            pictures, transform: transform, views: views, threads: threads, window: batch, ahead: 2 * batch + threads)
    }

    /// - Parameters:
    ///   - asFloats: run the plan for floats, for callers that have one anyway.
    ///   - augmentation: instead of that of the options.
    package func run(
        _ pictures: [PictureInput], batch: Int?, asFloats: Bool, _ augmentation: TestTimeAugmentation,
        _ report: (Event) throws -> Void
    ) throws {
        guard !pictures.isEmpty else { return }
        let transform = try pictureTransform(for: augmentation)
        let batch = batch ?? options.batch
        let views = augmentation.views
        // Pictures whose views run at once.
        let group = max(batch / views.count, 1)
        let stream = stream(pictures, transform, group, views: views)
        defer { stream.stop() }
        var sizes: Set<Size2> = []
        func planned(_ size: Size2) throws -> InferencePlan {
            let input = asFloats ? .floatNCHW : InputKind.bytesNHWC(scale: transform.scale, shift: transform.shift)
            let plan = try plan(size: size, input: input, batch: batch)
            if sizes.insert(size).inserted { try report(.planned(plan)) }
            return plan
        }
        // The weights are packed while the first pictures are decoded.
        if let size = transform.fixedOutputSize { _ = try planned(size) }

        var waiting: [(index: Int, views: [Picture])] = []
        func flush() throws {
            guard let first = waiting.first?.views[0] else { return }
            let input = try PictureBatch(waiting.flatMap(\.views), for: transform)
            let plan = try planned(Size2(first.height, first.width))
            let prediction = try plan.predict(input, views: views.count)
            try report(.answered(pictures: waiting.map(\.index), prediction))
            waiting = []
        }
        while let next = stream.next() {
            for warning in next.warnings { try report(.warning(picture: next.index, warning)) }
            switch next.views {
            case .success(let views):
                let (picture, first) = (views[0], waiting.first?.views[0])
                if let first, first.height != picture.height || first.width != picture.width { try flush() }
                waiting.append((next.index, views))
                if waiting.count == group { try flush() }
            case .failure(let error): try report(.failed(picture: next.index, error))
            }
        }
        try flush()
    }
}
