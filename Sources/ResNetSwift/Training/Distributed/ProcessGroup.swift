// The processes that train one network together. What they exchange is the same whatever carries it.

import ResNetExecution
import ResNetSupport

/// The processes of one run, ranks 0..<size. Every process calls the same methods in the same order; a call returns when
/// all have called it. One caller at a time.
public protocol ProcessGroup: AnyObject {
    /// Of this process, from 0.
    var rank: Int { get }
    /// The number of processes.
    var size: Int { get }
    /// Every process's bytes, in the order of the ranks.
    /// - Throws: `TrainingError.processes` where they do not arrive.
    func gather(_ bytes: [UInt8]) throws(TrainingError) -> [[UInt8]]
    /// Rank 0's bytes; what the others give is ignored.
    /// - Throws: `TrainingError.processes` where they do not arrive.
    func broadcast(_ bytes: [UInt8]) throws(TrainingError) -> [UInt8]
    /// Replaces the vector by the sum of every process's, added in the order of the ranks' binary tree as `TreeSum` adds: the
    /// same bits in all processes. All vectors have one length.
    /// - Parameter type: In which the numbers are sent, and to which every sum is rounded.
    /// - Throws: `TrainingError.processes` where they do not arrive.
    func sum(_ vector: UnsafeMutableBufferPointer<Float>, _ type: GradientType) throws(TrainingError)
    /// The same for the few numbers that a batch norm shares: fast where they are few.
    /// - Throws: `TrainingError.processes` where they do not arrive.
    func sum(_ vector: UnsafeMutableBufferPointer<Double>) throws(TrainingError)
    /// Does `work`, which may call the methods above, behind all that was posted or called before. Returns at once.
    func post(_ work: @escaping () -> Void)
}

/// In which numbers gradients are added and sent.
public enum GradientType: String, Sendable, Hashable, CaseIterable {
    /// 32 bits.
    case float32
    /// The upper 16 of them: half the bytes, 8 bits of precision.
    case bf16
}

/// A process of its own.
public final class SingleProcess: ProcessGroup {
    public let rank = 0
    public let size = 1

    /// Exchanges nothing.
    public init() {}

    public func gather(_ bytes: [UInt8]) -> [[UInt8]] { [bytes] }
    public func broadcast(_ bytes: [UInt8]) -> [UInt8] { bytes }
    public func sum(_ vector: UnsafeMutableBufferPointer<Float>, _ type: GradientType) {}
    public func sum(_ vector: UnsafeMutableBufferPointer<Double>) {}
    public func post(_ work: @escaping () -> Void) { work() }
}

extension ProcessGroup {
    /// Runs `body` in every process. Where it fails in some, all throw: a process its own error, the others the first rank's.
    func agree<R>(_ body: () throws -> R) throws -> R {
        let result = Result { try body() }
        guard size > 1 else { return try result.get() }
        var text = ""
        if case .failure(let error) = result { text = "\(error)".isEmpty ? "an error" : "\(error)" }
        let texts = try gather(Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) }
        if let failed = texts.firstIndex(where: { !$0.isEmpty }), text.isEmpty {
            throw TrainingError.processes(rank: failed, what: texts[failed])
        }
        return try result.get()
    }

    /// Every process's JSON, in the order of the ranks.
    func gather(_ value: JSONValue) throws(TrainingError) -> [JSONValue] {
        let texts = try gather(Array(value.text.utf8))
        var values: [JSONValue] = []
        for (rank, text) in texts.enumerated() {
            guard let value = try? JSONValue.parse(String(decoding: text, as: UTF8.self)) else {
                throw .processes(rank: rank, what: "sent something that is not JSON")
            }
            values.append(value)
        }
        return values
    }
}
