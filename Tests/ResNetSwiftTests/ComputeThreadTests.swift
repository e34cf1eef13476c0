import CKernels
import ResNetSwift
import XCTest

@testable import ResNetExecution

final class ComputeThreadTests: XCTestCase {
    func testJobsRunOnOneThreadThatIsNotTheCallers() throws {
        let thread = try ComputeThread(threads: 2)
        let first = try thread.perform { pthread_self() }
        let second = try thread.perform { pthread_self() }
        XCTAssertEqual(first, second)
        XCTAssertNotEqual(first, pthread_self())
    }

    func testManyShortJobs() throws {
        let thread = try ComputeThread(threads: 2)
        var sum = 0
        for index in 0..<5000 { sum += try thread.perform { index } }
        XCTAssertEqual(sum, 5000 * 4999 / 2)
    }

    func testErrorsComeBackToTheCaller() throws {
        let thread = try ComputeThread(threads: 2)
        XCTAssertThrowsError(
            try thread.perform { () throws(ExecutionError) -> Int in throw .noSuchNode("x") }
        ) { XCTAssertEqual("\($0)", "the model has no node x") }
        XCTAssertEqual(try thread.perform { 3 }, 3)
    }

    func testSubnormalsAreZeroThereOnly() throws {
        let thread = try ComputeThread(threads: 2)
        let tiny = Float.leastNormalMagnitude
        let half = Float(CommandLine.arguments.count) / Float(2 * CommandLine.arguments.count)
        XCTAssertEqual(try thread.perform { tiny * half }, 0)
        XCTAssertGreaterThan(tiny * half, 0)
    }

    /// The team's workers too: enough parts that each gets some, of subnormal numbers doubled.
    func testSubnormalsAreZeroInTheWholeTeam() throws {
        let count = 1 << 20
        let thread = try ComputeThread(threads: 4)
        let values = UnsafeMutablePointer<Float>.allocate(capacity: count)
        defer { values.deallocate() }
        values.initialize(repeating: Float.leastNormalMagnitude / 4, count: count)
        for _ in 0..<20 {
            let status = try thread.perform { ck_scale(values, count, 2, 4) }
            XCTAssertEqual(status, CK_OK)
            XCTAssert((0..<count).allSatisfy { values[$0] == 0 })
            values.update(repeating: Float.leastNormalMagnitude / 4, count: count)
        }
        XCTAssertEqual(ck_scale(values, count, 2, 1), CK_OK)
        XCTAssertGreaterThan(values[0], 0)
    }

    /// fork() is not offered to Swift, and rightly: only system calls may follow in the child. The two calls made there
    /// take no lock that another thread of this test could hold.
    func testAForkedChildGetsAnErrorAndNoHang() throws {
        typealias Fork = @convention(c) () -> pid_t
        let fork = unsafeBitCast(try XCTUnwrap(dlsym(nil, "fork")), to: Fork.self)
        let thread = try ComputeThread(threads: 2)
        let child = fork()
        if child == 0 {
            var code: Int32 = 1
            do throws(ExecutionError) { try thread.perform {} } catch {
                if case .usedAfterFork = error { code = 7 }
            }
            _exit(code)
        }
        XCTAssertGreaterThan(child, 0)
        var status: Int32 = 0
        XCTAssertEqual(waitpid(child, &status, 0), child)
        XCTAssertEqual((status >> 8) & 0xFF, 7)
        XCTAssertEqual(try thread.perform { 1 }, 1)
    }
}
