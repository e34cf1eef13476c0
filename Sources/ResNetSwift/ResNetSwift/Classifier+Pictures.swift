// Pictures through a classifier: files, bytes of files or pixels, decoded ahead while the network runs, in order.

import ResNetData
import ResNetExecution
import ResNetGraph

extension Classifier {
    /// A class or label, and how probable it is.
    public struct Score: Sendable, Hashable {
        /// In the order of the logits.
        public let index: Int
        /// `class 7` where the classes have no names.
        public let name: String
        /// 0...1.
        public let probability: Double
        /// For networks of several labels a picture, whether the probability reaches the label's threshold; otherwise nil.
        public let isPresent: Bool?
    }

    // MARK: - Classifying

    /// The most probable classes of a picture file, the best first.
    /// - Parameters:
    ///   - path: a picture.
    ///   - top: the most classes that are returned.
    /// - Throws: `PictureError`, `ExecutionError`, and `ClassifierError`, also for a network without a head.
    public func classify(_ path: String, top: Int = 5) throws -> [Score] { try classify([.file(path)], top: top)[0] }

    /// The most probable classes of a picture whose file is in memory, the best first.
    /// - Parameters:
    ///   - bytes: of a picture file.
    ///   - name: stands for the path in errors.
    ///   - top: the most classes that are returned.
    /// - Throws: `PictureError`, `ExecutionError`, and `ClassifierError`, also for a network without a head.
    public func classify(_ bytes: [UInt8], name: String = "picture", top: Int = 5) throws -> [Score] {
        try classify([.bytes(bytes, name: name)], top: top)[0]
    }

    /// The most probable classes of each picture file, the best first.
    /// - Throws: `PictureError` for the first picture that cannot be read (`run` goes on), `ExecutionError`, and
    ///   `ClassifierError` for a network without a head.
    public func classify(_ paths: [String], top: Int = 5) throws -> [[Score]] {
        try classify(paths.map(PictureInput.file), top: top)
    }

    /// The most probable classes of each picture, the best first.
    /// - Throws: `PictureError` for the first picture that cannot be read (`run` goes on), `ExecutionError`, and
    ///   `ClassifierError` for a network without a head.
    public func classify(_ pictures: [PictureInput], top: Int = 5) throws -> [[Score]] {
        try requireHead()
        var result = Array(repeating: [Score](), count: pictures.count)
        try run(pictures) { event in
            switch event {
            case .failed(_, let error): throw error
            case .answered(let answered, let prediction):
                for (picture, scores) in zip(answered, scores(prediction.logits, top: top)) { result[picture] = scores }
            case .planned, .warning: break
            }
        }
        return result
    }

    /// The most probable classes of each row of logits (N, classes), the best first: by softmax, or by each label's sigmoid
    /// where a picture may have several.
    public func scores(_ logits: Tensor, top: Int = 5) -> [[Score]] {
        model.graph.topScores(logits, count: top, areIndependent: thresholds != nil).map { row in
            row.map { score in
                Score(
                    index: score.index, name: className(score.index), probability: score.probability,
                    isPresent: thresholds.map { score.probability >= $0[score.index] })
            }
        }
    }

    /// The name of a class; `class 7` where the classes have no names.
    public func className(_ index: Int) -> String { classNames?[index] ?? "class \(index)" }

    /// Does nothing for a network that has classes.
    /// - Throws: `ClassifierError` for one whose weights came without a classifier.
    public func requireHead() throws(ClassifierError) {
        guard hasHead else {
            throw ClassifierError(
                .unsupported,
                "\(origin): expected a network with a classifier, found \(name) without one; it gives features "
                    + "(embed), and training gives it a classifier")
        }
    }

    // MARK: - Features

    /// The feature vectors h of picture files, which the last layer reads: (N, features).
    /// - Throws: `PictureError` for the first picture that cannot be read (`run` goes on), `ExecutionError`, and
    ///   `ClassifierError` for a network without features.
    public func embed(_ paths: [String]) throws -> Tensor { try embed(paths.map(PictureInput.file)) }

    /// The feature vectors h of pictures, which the last layer reads: (N, features).
    /// - Throws: `PictureError` for the first picture that cannot be read (`run` goes on), `ExecutionError`, and
    ///   `ClassifierError` for a network without features.
    public func embed(_ pictures: [PictureInput]) throws -> Tensor {
        try requireFeatures()
        var values: [Float] = []
        var width = 0
        try run(pictures) { event in
            switch event {
            case .failed(_, let error): throw error
            case .answered(_, let prediction):
                let features = prediction.features!
                width = features.shape[1]
                values += features.values
            case .planned, .warning: break
            }
        }
        return Tensor(shape: [pictures.count, width], values: values)
    }

    /// Does nothing for a network with a feature vector before its logits, or without logits.
    /// - Throws: `ClassifierError` for one without features.
    public func requireFeatures() throws(ClassifierError) {
        guard model.graph.features != nil else {
            throw ClassifierError(
                .unsupported, "\(name): expected a model with a feature vector, found none before its logits")
        }
    }

    // MARK: - Arrays

    /// Runs arrays (N, C, H, W) that have been through the transform already, of any size that the network takes.
    /// - Throws: `ClassifierError` for another shape, `ExecutionError`.
    public func predict(_ pictures: Tensor) throws -> Prediction {
        try plan(size: try size(ofArray: pictures.shape, from: name)).predict(pictures)
    }

    /// Height and width of pictures (N, C, H, W) for this network; `origin` begins the error.
    package func size(ofArray shape: [Int], from origin: String) throws(ClassifierError) -> Size2 {
        guard shape.count == 4, !shape.contains(0) else {
            throw ClassifierError(
                .argument, "\(origin): expected pictures (N, C, H, W), found an array of shape \(shape)")
        }
        guard shape[1] == inputChannels else {
            throw ClassifierError(
                .argument, "\(origin): expected \(inputChannels) channels for \(name), found \(shape[1]) in \(shape)")
        }
        return Size2(shape[2], shape[3])
    }

    /// The transform, if picture files can go through it.
    /// - Throws: `ClassifierError` for one of other channels than the network or files have, or for one that draws random
    ///   numbers.
    public func pictureTransform() throws(ClassifierError) -> ImageTransform {
        try pictureTransform(for: options.augmentation)
    }

    package func pictureTransform(
        for augmentation: TestTimeAugmentation
    ) throws(ClassifierError) -> ImageTransform {
        guard transform.channels == inputChannels else {
            throw ClassifierError(
                options.transform == nil ? .unsupported : .argument,
                "\(name): expected pictures of \(inputChannels) channels, but the transform yields "
                    + "\(transform.channels); choose another transform")
        }
        guard !transform.isRandom else {
            throw ClassifierError(
                options.transform == nil ? .weights : .argument,
                "\(origin): expected a transform without random steps, found one for training")
        }
        guard augmentation.suits(transform) else {
            throw ClassifierError(
                .argument,
                "\(augmentation.rawValue): expected a transform with a centerCrop, whose place the crops take, "
                    + "found one without")
        }
        guard transform.channels == 1 || transform.channels == 3 else {
            throw ClassifierError(
                .unsupported,
                "\(name): picture files have 1 or 3 channels, the model takes \(transform.channels); "
                    + "stack them into an array and run that (predict)")
        }
        return transform
    }
}
