// Wisdom: measured choices are remembered, travel through a file, and a damaged file changes nothing.
import CKernels
import Foundation
import XCTest

final class WisdomTests: XCTestCase {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("wisdom-\(getpid())")

    override func setUpWithError() throws {
        ck_wisdom_forget()
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws {
        ck_wisdom_forget()
        try FileManager.default.removeItem(at: folder)
    }

    private func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    private func plan(channels: Int32, selection: ck_selection) -> ck_algorithm {
        var description = ck_conv_desc()
        (description.batch, description.in_height, description.in_width) = (1, 9, 9)
        (description.in_channels, description.out_channels) = (channels, channels)
        (description.kernel_height, description.kernel_width) = (3, 3)
        (description.pad_height, description.pad_width) = (1, 1)
        (description.threads, description.selection) = (1, selection)
        var handle: OpaquePointer?
        XCTAssertEqual(ck_conv_plan_create(&description, &handle), CK_OK)
        defer { ck_conv_plan_destroy(handle) }
        return ck_conv_plan_algorithm(handle)
    }

    func testEstimatesAreNotRemembered() {
        _ = plan(channels: 16, selection: CK_ESTIMATE)
        XCTAssertEqual(ck_wisdom_count(), 0)
    }

    func testMeasuredChoicesAreRememberedOnce() {
        let first = plan(channels: 16, selection: CK_MEASURE)
        XCTAssertEqual(ck_wisdom_count(), 1)
        XCTAssertEqual(plan(channels: 16, selection: CK_MEASURE), first)
        XCTAssertEqual(plan(channels: 16, selection: CK_ESTIMATE), first, "an estimate asks wisdom first")
        XCTAssertEqual(ck_wisdom_count(), 1)
        _ = plan(channels: 32, selection: CK_MEASURE)
        XCTAssertEqual(ck_wisdom_count(), 2)
    }

    func testAFileDecides() throws {
        _ = plan(channels: 16, selection: CK_MEASURE)
        XCTAssertEqual(ck_wisdom_save(path("w")), CK_OK)
        let text = try String(contentsOfFile: path("w"), encoding: .utf8)
        // Whatever was fastest: the file now says im2col and GEMM, which the estimate would never choose.
        let lines = text.split(separator: "\n")
        XCTAssertEqual(lines.count, 2)
        let key = try XCTUnwrap(lines.last?.split(separator: " ", maxSplits: 1).last)
        try "\(lines[0])\n\(CK_GEMM.rawValue) \(key)\n".write(toFile: path("w"), atomically: true, encoding: .utf8)
        ck_wisdom_forget()
        XCTAssertNotEqual(plan(channels: 16, selection: CK_ESTIMATE), CK_GEMM)
        XCTAssertEqual(ck_wisdom_load(path("w")), CK_OK)
        XCTAssertEqual(plan(channels: 16, selection: CK_ESTIMATE), CK_GEMM)
    }

    func testDamagedFilesChangeNothing() throws {
        let good = "ckernels wisdom 1\n1 some key\n"
        let bad = [
            "", "ckernels", "something else\n1 key\n", good + "99 key\n", good + "x key\n", good + "1key\n",
            good + "1 unfinished", good + "0 key\n", good + "1 " + String(repeating: "k", count: 300) + "\n",
        ]
        for text in bad {
            try text.write(toFile: path("bad"), atomically: true, encoding: .utf8)
            XCTAssertEqual(ck_wisdom_load(path("bad")), CK_BAD_WISDOM, text)
            XCTAssertEqual(ck_wisdom_count(), 0, text)
        }
        XCTAssertEqual(ck_wisdom_load(path("none")), CK_FILE_ERROR)
        XCTAssertEqual(ck_wisdom_load(nil), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_wisdom_save(path("no/such/folder")), CK_FILE_ERROR)
    }
}
