// Memory between two pages that must not be touched:
//
//     | no access | slack | elements | slack | no access |
//
// `.end` puts the elements as close to the second page as their alignment allows, `.start` right behind the first, so an
// access beyond that end crashes the test. Everything starts poisoned (all bits one, a NaN), and the slack must stay so.

import CReference
import Foundation

final class GuardedBuffer<Element: BitwiseCopyable> {
    enum Placement { case start, end }

    let pointer: UnsafeMutablePointer<Element>
    let count: Int
    private let mapping: UnsafeMutableRawPointer
    private let body: UnsafeMutableRawBufferPointer

    var byteCount: Int { count * MemoryLayout<Element>.stride }

    init(count: Int, alignment: Int = 64, placement: Placement = .end) {
        let page = Int(getpagesize())
        let bytes = count * MemoryLayout<Element>.stride
        let bodyBytes = (bytes + alignment + page - 1) / page * page
        guard
            let mapping = mmap(
                nil, bodyBytes + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            mapping != MAP_FAILED
        else { fatalError("mmap of \(bodyBytes) bytes failed") }
        mprotect(mapping, page, PROT_NONE)
        mprotect(mapping + page + bodyBytes, page, PROT_NONE)
        let offset = placement == .start ? 0 : (bodyBytes - bytes) / alignment * alignment
        self.mapping = mapping
        self.count = count
        body = UnsafeMutableRawBufferPointer(start: mapping + page, count: bodyBytes)
        pointer = (mapping + page + offset).bindMemory(to: Element.self, capacity: max(count, 1))
        cr_poison(body.baseAddress, bodyBytes)
    }

    convenience init(_ values: [Element], alignment: Int = 64, placement: Placement = .end) {
        self.init(count: values.count, alignment: alignment, placement: placement)
        values.withUnsafeBufferPointer { source in
            if let start = source.baseAddress { pointer.update(from: start, count: count) }
        }
    }

    deinit { munmap(mapping, body.count + 2 * Int(getpagesize())) }

    var array: [Element] { Array(UnsafeBufferPointer(start: pointer, count: count)) }

    /// Whether nothing was written beside the elements.
    var slackIsIntact: Bool {
        let before = UnsafeRawPointer(pointer) - UnsafeRawPointer(body.baseAddress!)
        let after = body.count - before - byteCount
        return cr_count_poison(body.baseAddress, before) == before
            && cr_count_poison(UnsafeRawPointer(pointer) + byteCount, after) == after
    }

    /// Whether the elements from `first` on were never written.
    func isPoisoned(from first: Int) -> Bool {
        let bytes = (count - first) * MemoryLayout<Element>.stride
        return cr_count_poison(pointer + first, bytes) == bytes
    }
}
