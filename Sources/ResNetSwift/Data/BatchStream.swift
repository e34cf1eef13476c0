// The batches of one epoch, decoded ahead by threads.
//
// A slot is memory for one batch. Threads take pictures one by one in the order of the epoch, decode each into its place,
// and whoever finishes the last picture of a batch finishes the batch: closes gaps, mixes, makes the labels. Batches enter
// the window when their slot is free:
//
//     batch    3         4         5         6            (prefetch 3)
//     slot     0         1         2         0
//              taken     ready     filling   waits for the caller to take 4

import ResNetGraph
import ResNetSupport

/// A batch to make.
struct PlannedBatch: Sendable {
    /// In the epoch, from 0.
    let index: Int
    /// Indices in the data set.
    let samples: [Int]
}

/// The batches of one epoch, or some of them, in order. Threads decode ahead while it lives; one caller takes batches.
public final class BatchStream {
    private let loader: BatchLoader
    private let plan: [PlannedBatch]
    private let epoch: Int
    private let queue: BatchQueue?
    private let threads: WorkerThreads?
    private var next = 0

    init(_ loader: BatchLoader, _ plan: [PlannedBatch], epoch: Int) {
        self.loader = loader
        self.plan = plan
        self.epoch = epoch
        if case .floats = loader.slice.dataset.source {
            (queue, threads) = (nil, nil)
        } else {
            let queue = BatchQueue(loader, plan, epoch: epoch)
            self.queue = queue
            threads = WorkerThreads(count: loader.settings.threads) { queue.work() }
            precondition(threads != nil, "the system gives no thread to decode pictures")
        }
    }

    deinit {
        queue?.stop()
        threads?.join()
    }

    /// Batches of this epoch, with those that this stream leaves out.
    public var count: Int { loader.batchesPerEpoch }

    /// The next batch, or nil at the end of the epoch.
    public func nextBatch() -> LoadedBatch? {
        guard next < plan.count else { return nil }
        defer { next += 1 }
        return queue?.take(next) ?? floats(next)
    }

    private func floats(_ position: Int) -> LoadedBatch {
        guard case .floats(let tensor) = loader.slice.dataset.source else {
            preconditionFailure("pictures come from a queue")
        }
        let (index, samples) = (plan[position].index, plan[position].samples)
        let size = loader.pictureShape.count
        let decision = loader.mixing(epoch: epoch, batch: index)
        let storage = FloatStorage(count: samples.count * size) { target in
            tensor.withUnsafeFloats { source in
                for (slot, sample) in samples.enumerated() {
                    let values = UnsafeBufferPointer(rebasing: source[sample * size..<(sample + 1) * size])
                    _ = UnsafeMutableBufferPointer(rebasing: target[(slot * size)...]).initialize(from: values)
                }
            }
            decision.apply(
                to: target, count: samples.count, planes: loader.pictureShape.channels,
                height: loader.pictureShape.height, width: loader.pictureShape.width, depth: 1
            ) { own, partner, kept in Float(kept) * own + Float(1 - kept) * partner }
        }
        let shape = [samples.count] + Array(tensor.shape.dropFirst())
        let isKept = samples.count > 1 || !loader.settings.dropsSingleSample
        return LoadedBatch(
            index: index,
            batch: isKept
                ? TrainingBatch(
                    input: .floats(Tensor(shape: shape, storage: storage)),
                    labels: loader.labels(of: samples, decision)) : nil,
            samples: samples, skipped: [])
    }
}

/// What the threads and the caller share. Unchecked: `lock` guards all that changes, but for the pixels of a slot, which
/// belong to the threads that fill it until the batch is done.
private final class BatchQueue: @unchecked Sendable {
    private final class Slot {
        let pixels: UnsafeMutablePointer<UInt8>
        var batch = -1
        var missing = 0
        var reasons: [String?] = []
        var result: LoadedBatch?

        init(bytes: Int) { pixels = .allocate(capacity: bytes) }
        deinit { pixels.deallocate() }
    }

    private let loader: BatchLoader
    private let plan: [PlannedBatch]
    private let epoch: Int
    private let slots: [Slot]
    private let lock = ConditionLock()
    /// The next picture to decode: batches are numbered by their place in `plan`.
    private var nextBatch = 0
    private var nextSample = 0
    /// Batches before this one are the caller's.
    private var taken = 0
    private var isStopped = false

    init(_ loader: BatchLoader, _ plan: [PlannedBatch], epoch: Int) {
        self.loader = loader
        self.plan = plan
        self.epoch = epoch
        let bytes = loader.settings.batchSize * loader.bytesOfSample
        slots = (0..<min(loader.settings.prefetch, max(plan.count, 1))).map { _ in Slot(bytes: bytes) }
    }

    func stop() {
        lock.locked {
            isStopped = true
            lock.broadcast()
        }
    }

    /// Waits for a batch. Batches are taken in order.
    func take(_ batch: Int) -> LoadedBatch {
        lock.locked {
            let slot = slots[batch % slots.count]
            while slot.batch != batch || slot.result == nil { lock.wait() }
            defer {
                slot.result = nil
                slot.batch = -1
                taken = batch + 1
                lock.broadcast()
            }
            return slot.result!
        }
    }

    /// A thread's life.
    func work() {
        while let (batch, place) = nextPicture() {
            let slot = slots[batch % slots.count]
            var reason: String?
            switch loader.pictures(plan[batch].samples[place], epoch: epoch) {
            case .success(let views):
                var target = slot.pixels + place * loader.bytesOfSample
                for picture in views {
                    picture.pixels.withUnsafeBufferPointer { target.update(from: $0.baseAddress!, count: $0.count) }
                    target += picture.pixels.count
                }
            case .failure(let failure): reason = failure.text
            }
            let isLast = lock.locked {
                slot.reasons[place] = reason
                slot.missing -= 1
                return slot.missing == 0
            }
            guard isLast else { continue }
            let result = finish(batch, slot)
            lock.locked {
                slot.result = result
                lock.broadcast()
            }
        }
    }

    private func nextPicture() -> (batch: Int, place: Int)? {
        lock.locked {
            while true {
                if isStopped || nextBatch >= plan.count { return nil }
                if nextSample > 0 || nextBatch < taken + slots.count { break }
                lock.wait()
            }
            let batch = nextBatch
            let place = nextSample
            if place == 0 {
                let slot = slots[batch % slots.count]
                slot.batch = batch
                slot.missing = plan[batch].samples.count
                slot.reasons = Array(repeating: nil, count: plan[batch].samples.count)
            }
            nextSample += 1
            if nextSample == plan[batch].samples.count {
                nextSample = 0
                nextBatch += 1
            }
            return (batch, place)
        }
    }

    /// All pictures of the batch are there, or known to be missing.
    private func finish(_ batch: Int, _ slot: Slot) -> LoadedBatch {
        let size = loader.bytesOfSample
        var samples: [Int] = []
        var skipped: [SkippedSample] = []
        for (place, sample) in plan[batch].samples.enumerated() {
            if let reason = slot.reasons[place] {
                skipped.append(SkippedSample(sample: sample, reason: reason))
                continue
            }
            if samples.count < place {
                (slot.pixels + samples.count * size).update(from: slot.pixels + place * size, count: size)
            }
            samples.append(sample)
        }
        guard samples.count > (loader.settings.dropsSingleSample ? 1 : 0) else {
            return LoadedBatch(index: plan[batch].index, batch: nil, samples: samples, skipped: skipped)
        }
        let shape = loader.pictureShape
        let decision = loader.mixing(epoch: epoch, batch: plan[batch].index)
        let values = UnsafeMutableBufferPointer(start: slot.pixels, count: samples.count * size)
        decision.apply(
            to: values, count: samples.count, planes: 1, height: shape.height, width: shape.width,
            depth: shape.channels
        ) { own, partner, kept in UInt8((kept * Double(own) + (1 - kept) * Double(partner)).rounded()) }
        let pictures = PictureBatch(
            count: samples.count * loader.settings.views.count, height: shape.height, width: shape.width,
            channels: shape.channels, pixels: Array(values), scale: loader.settings.transform.scale,
            shift: loader.settings.transform.shift)
        return LoadedBatch(
            index: plan[batch].index,
            batch: TrainingBatch(input: .pictures(pictures), labels: loader.labels(of: samples, decision)),
            samples: samples, skipped: skipped)
    }
}
