// Several processes for tests: threads of one process, each with a thread of communication of its own, as under MPI.

import Foundation
import ResNetSwift

@testable import ResNetTraining

/// Processes that are threads of one process.
final class ThreadGroup: ProcessGroup, @unchecked Sendable {
    let rank: Int
    let size: Int
    private let board: Board

    /// Where threads leave what they send; all wait until all have read.
    private final class Board: @unchecked Sendable {
        private let condition = NSCondition()
        private var sent: [[UInt8]?]
        private var reading = 0

        init(_ size: Int) { sent = Array(repeating: nil, count: size) }

        func exchange(_ rank: Int, _ bytes: [UInt8]) -> [[UInt8]] {
            condition.lock()
            defer { condition.unlock() }
            while reading > 0 { condition.wait() }
            sent[rank] = bytes
            if sent.allSatisfy({ $0 != nil }) {
                reading = sent.count
                condition.broadcast()
            }
            while reading == 0 { condition.wait() }
            let all = sent.map { $0! }
            reading -= 1
            if reading == 0 {
                sent = Array(repeating: nil, count: sent.count)
                condition.broadcast()
            }
            while reading > 0 { condition.wait() }
            return all
        }
    }

    private init(_ rank: Int, _ size: Int, _ board: Board) {
        self.rank = rank
        self.size = size
        self.board = board
    }

    /// Rank 0's error, if any fails.
    static func run<R>(_ count: Int, _ body: @escaping (ThreadGroup) throws -> R) throws -> [R] {
        let board = Board(count)
        nonisolated(unsafe) var results = [Result<R, any Error>?](repeating: nil, count: count)
        nonisolated(unsafe) let body = body
        let lock = NSLock()
        let threads = (0..<count).map { rank in
            let done = DispatchSemaphore(value: 0)
            Thread.detachNewThread {
                let group = ThreadGroup(rank, count, board)
                let result = Result { try body(group) }
                group.thread.stop()
                lock.withLock { results[rank] = result }
                done.signal()
            }
            return done
        }
        for thread in threads { thread.wait() }
        return try results.map { try $0!.get() }
    }

    private let thread = CommunicationThread()

    func post(_ work: @escaping () -> Void) { thread.post(work) }
    func gather(_ bytes: [UInt8]) throws(TrainingError) -> [[UInt8]] {
        try thread.perform { board.exchange(rank, bytes) }
    }
    func broadcast(_ bytes: [UInt8]) throws(TrainingError) -> [UInt8] { try gather(bytes)[0] }

    /// The floats of every sum so far.
    private(set) var summed: [Int] = []

    func sum(_ vector: UnsafeMutableBufferPointer<Float>, _ type: GradientType) throws(TrainingError) {
        summed.append(vector.count)
        let all = try gather(Array(UnsafeRawBufferPointer(vector)))
        let tree = TreeSum(count: vector.count, rounded: type == .bf16 ? 0..<vector.count : 0..<0)
        for bytes in all {
            tree.add { target in bytes.withUnsafeBytes { _ = $0.copyBytes(to: UnsafeMutableRawBufferPointer(target)) } }
        }
        tree.finish { _ = vector.update(fromContentsOf: $0) }
    }

    func sum(_ vector: UnsafeMutableBufferPointer<Double>) throws(TrainingError) {
        let all = try gather(Array(UnsafeRawBufferPointer(vector)))
        var vectors = all.map { bytes in
            [Double](unsafeUninitializedCapacity: vector.count) { target, count in
                bytes.withUnsafeBytes { _ = $0.copyBytes(to: UnsafeMutableRawBufferPointer(target)) }
                count = vector.count
            }
        }
        while vectors.count > 1 {
            let last = vectors.count % 2 == 1 ? [vectors[vectors.count - 1]] : []
            vectors =
                stride(from: 0, to: vectors.count - 1, by: 2).map { zip(vectors[$0], vectors[$0 + 1]).map { $0 + $1 } }
                + last
        }
        _ = vector.update(fromContentsOf: vectors[0])
    }
}
