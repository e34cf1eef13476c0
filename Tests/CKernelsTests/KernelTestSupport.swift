// What the kernel tests share: the instruction sets this machine runs, and seeded data.

import CKernels
import CReference
import XCTest

/// Waiting threads sleep at once: a team larger than the machine would otherwise spin away its own members' time. Set
/// before the OpenMP library starts, which reads it once.
private let teamsSleepWhileWaiting: Bool = {
    setenv("KMP_BLOCKTIME", "0", 0)
    return true
}()

/// Every instruction set that can run here, best first.
var availableISAs: [ck_isa] {
    precondition(teamsSleepWhileWaiting)
    return [CK_ISA_AVX512, CK_ISA_AVX2, CK_ISA_NEON, CK_ISA_PORTABLE].filter { ck_isa_available($0) == CK_OK }
}

extension ck_isa {
    var title: String { String(cString: ck_isa_name(self)) }
}

extension ck_algorithm {
    var title: String { String(cString: ck_algorithm_name(self)) }
}

/// Runs the body once under every instruction set and puts the first one back.
func forEachISA(_ body: (ck_isa) throws -> Void) rethrows {
    let before = ck_isa_active()
    defer { XCTAssertEqual(ck_isa_force(before), CK_OK) }
    for isa in availableISAs {
        XCTAssertEqual(ck_isa_force(isa), CK_OK)
        try body(isa)
    }
}

func uniform(_ count: Int, seed: UInt64, _ range: ClosedRange<Double> = -1...1) -> [Float] {
    var values = [Float](repeating: 0, count: count)
    cr_fill_uniform(&values, count, seed, range.lowerBound, range.upperBound)
    return values
}

func integers(_ count: Int, seed: UInt64, _ range: ClosedRange<Int32>) -> [Float] {
    var values = [Float](repeating: 0, count: count)
    cr_fill_integers(&values, count, seed, range.lowerBound, range.upperBound)
    return values
}

func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var values = [UInt8](repeating: 0, count: count)
    cr_fill_bytes(&values, count, seed)
    return values
}

/// NCHW -> (N, C/c, H, W, c) by the reference's index formula, for the active block.
func blocked(_ values: [Float], n: Int32, c: Int32, plane: Int) -> [Float] {
    var result = [Float](repeating: 0, count: cr_blocked_count(n, c, plane, ck_block()))
    cr_to_blocked(values, n, c, plane, ck_block(), &result)
    return result
}

func unblocked(_ values: UnsafePointer<Float>, n: Int32, c: Int32, plane: Int) -> [Float] {
    var result = [Float](repeating: 0, count: Int(n) * Int(c) * plane)
    cr_from_blocked(values, n, c, plane, ck_block(), &result)
    return result
}

/// Bytes on whose multiples a blocked buffer may start.
var blockAlignment: Int { Int(ck_block()) * MemoryLayout<Float>.stride }

/// (C) with zeros up to a whole number of blocks.
func padded(_ values: [Float]) -> [Float] {
    let block = Int(ck_block())
    return values + [Float](repeating: 0, count: (block - values.count % block) % block)
}

/// The unit roundoff of float: half the distance from 1 to the next number.
let roundoff = 0x1p-24

/// Fails unless every value is within bound = relative * factor + absolute of what is expected; a NaN must meet a NaN.
func assertClose(
    _ actual: [Float], _ expected: [Double], relative: [Double]? = nil, factor: Double = 0, absolute: Double = 0,
    _ what: @autoclosure () -> String, file: StaticString = #filePath, line: UInt = #line
) {
    guard actual.count == expected.count, relative == nil || relative!.count == actual.count else {
        return XCTFail("\(what()): \(actual.count) values, expected \(expected.count)", file: file, line: line)
    }
    let difference = cr_compare(actual, expected, actual.count, relative, factor, absolute)
    if difference.worst > 1 {
        XCTFail("\(what()): \(difference.text)", file: file, line: line)
    }
}

extension cr_difference {
    var text: String {
        "\(actual) at \(index), expected \(expected): \(worst) times the bound \(bound)"
    }
}

/// Random numbers that are the same on every machine: elements 0, 1, 2... of the reference's seeded data.
struct SeededGenerator: RandomNumberGenerator {
    private let seed: UInt64
    private var drawn: UInt64 = 0

    init(seed: UInt64) { self.seed = seed }

    mutating func next() -> UInt64 {
        var bytes = [UInt8](repeating: 0, count: 8)
        cr_fill_bytes(&bytes, 8, seed &* 0x9E37_79B9_7F4A_7C15 &+ drawn)
        drawn += 1
        return bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}
