// Progressive resizing: training begins with small pictures, which cost less, and ends with large ones.
//
//     sizes      128        176        224
//     epoch      0 1 2 3    4 5 6 7    8 9 10 11        validation always with 224

import ResNetData
import ResNetExecution
import ResNetGraph

extension Trainer {
    /// Loaders of the training pictures, one for each of the run's sizes; none where they have one size.
    static func loaders(
        of sizes: [Size2], _ largest: BatchLoader, _ backend: any TrainingBackend
    ) throws -> [BatchLoader] {
        func fault(_ expected: String, _ found: String) -> TrainingError {
            .settings(field: "sizes", expected: expected, found: found)
        }
        guard let last = sizes.last else { return [] }
        guard largest.settings.transform.fixedOutputSize == last else {
            throw fault("a transform of the training pictures to \(last), the last size", "another one")
        }
        guard let backend = backend as? any ResizableBackend else {
            throw fault("a backend that takes pictures of several sizes", "\(type(of: backend))")
        }
        return try sizes.map { size in
            var settings = largest.settings
            settings.transform = settings.transform.resized(to: size)
            let loader = try BatchLoader(largest.slice, settings)
            guard loader.pictureShape.height == size.height, loader.pictureShape.width == size.width else {
                throw fault("sizes that the transform can be changed to", "\(size)")
            }
            guard backend.canRun(on: loader.pictureShape) else {
                throw fault("sizes that \(backend.graph.modelName) runs on", "\(size)")
            }
            return loader
        }
    }

    /// Which of the sizes an epoch has: equal parts of the run.
    private func sizeIndex(epoch: Int) -> Int { epoch * settings.sizes.count / settings.epochs }

    /// With the pictures of the epoch that goes on.
    var epochLoader: BatchLoader {
        resizedLoaders.isEmpty ? trainingLoader : resizedLoaders[sizeIndex(epoch: state.epoch)]
    }

    /// Before the epoch's first step.
    func resize() {
        guard !resizedLoaders.isEmpty else { return }
        let shape = epochLoader.pictureShape
        take(shape)
        let begins = state.epoch == 0 || sizeIndex(epoch: state.epoch) != sizeIndex(epoch: state.epoch - 1)
        if begins && state.batch == 0 {
            report(.note("pictures of \(Size2(shape.height, shape.width)) from epoch \(state.epoch + 1) on"))
        }
    }

    /// Before validation, whose pictures have the last size.
    func resizeForValidation() {
        if !resizedLoaders.isEmpty { take(trainingLoader.pictureShape) }
    }

    private func take(_ shape: ImageShape) {
        guard let backend = backend as? any ResizableBackend else { preconditionFailure("checked in init") }
        if backend.input != shape { backend.input = shape }
    }
}
