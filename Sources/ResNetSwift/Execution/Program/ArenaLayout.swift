// Places for buffers in one block of memory: buffers that live at the same time never overlap, others may share.
//
// First fit by decreasing size, the greedy rule of "Efficient Memory Management for Deep Neural Net Inference"
// (arXiv 2001.03288): large buffers find room first, small ones fill the gaps.

struct ArenaRequest: Sendable, Hashable {
    var bytes: Int
    /// Steps, inclusive, during which the buffer holds something.
    var lifetime: ClosedRange<Int>
}

struct ArenaLayout: Sendable {
    /// By request, multiples of `alignment`.
    let offsets: [Int]
    let bytes: Int

    static let alignment = 64

    init(_ requests: [ArenaRequest]) {
        func rounded(_ bytes: Int) -> Int { (bytes + Self.alignment - 1) / Self.alignment * Self.alignment }
        var offsets = Array(repeating: 0, count: requests.count)
        var end = 0
        var placed: [(range: Range<Int>, lifetime: ClosedRange<Int>)] = []
        let bySize = requests.indices.sorted {
            (requests[$0].bytes, $1) > (requests[$1].bytes, $0)
        }
        for index in bySize {
            let size = rounded(requests[index].bytes)
            var offset = 0
            let lifetime = requests[index].lifetime
            for other in placed.filter({ $0.lifetime.overlaps(lifetime) }).sorted(by: {
                $0.range.lowerBound < $1.range.lowerBound
            }) {
                if offset + size <= other.range.lowerBound { break }
                offset = max(offset, other.range.upperBound)
            }
            offsets[index] = offset
            placed.append((offset..<offset + size, lifetime))
            end = max(end, offset + size)
        }
        self.offsets = offsets
        bytes = end
    }
}
