// From logits to what people read: probabilities, the most probable class first.
import Glibc
import ResNetGraph

/// A class and how probable it is.
public struct ClassScore: Sendable, Hashable {
    /// Of the class, in the order of the logits.
    public let index: Int
    /// 0...1.
    public let probability: Double
}

extension Graph {
    /// The most probable classes of every row of `logits` (N, classes), at most `count`, the best first; of equals the
    /// lower index. Probabilities are the softmax over the row, or each logit's sigmoid where the network ends in one or
    /// where labels are independent of each other.
    public func topScores(_ logits: Tensor, count: Int, areIndependent: Bool = false) -> [[ClassScore]] {
        precondition(logits.shape.count == 2, "logits are (N, classes), not \(logits.shape)")
        let classes = logits.shape[1]
        return logits.withUnsafeFloats { values in
            (0..<logits.shape[0]).map { row in
                let row = values[(row * classes)..<((row + 1) * classes)].map(Double.init)
                let usesSigmoid = areIndependent || self.probabilities != nil
                let probabilities = usesSigmoid ? row.map { 1 / (1 + exp(-$0)) } : softmax(row)
                // NaN compares with nothing; it goes last.
                let rank = probabilities.map { $0.isNaN ? -1 : $0 }
                let best = rank.indices.sorted { (rank[$1], $0) < (rank[$0], $1) }.prefix(max(count, 0))
                return best.map { ClassScore(index: $0, probability: probabilities[$0]) }
            }
        }
    }
}

private func softmax(_ logits: [Double]) -> [Double] {
    let largest = logits.max() ?? 0
    let powers = logits.map { exp($0 - largest) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
}
