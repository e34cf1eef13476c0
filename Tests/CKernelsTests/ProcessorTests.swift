// Status texts, instruction sets, threads and memory.

import CKernels
import CReference
import XCTest

final class ProcessorTests: XCTestCase {
    func testEveryStatusHasItsOwnSentence() {
        let all = (0...8).map { String(cString: ck_status_string(ck_status(rawValue: $0))) }
        XCTAssertEqual(Set(all).count, all.count)
        for text in all + [String(cString: ck_status_string(ck_status(rawValue: 99)))] {
            XCTAssertFalse(text.isEmpty)
            XCTAssertFalse(text.hasSuffix("."))
        }
    }

    func testVersion() { XCTAssertEqual(String(cString: ck_version()), CK_VERSION_STRING) }

    func testISAs() {
        XCTAssertEqual(ck_init(), CK_OK)
        XCTAssertEqual(ck_isa_available(CK_ISA_PORTABLE), CK_OK)
        XCTAssertEqual(ck_isa_available(CK_ISA_COUNT), CK_UNKNOWN_ISA)
        XCTAssertEqual(ck_isa_force(CK_ISA_COUNT), CK_UNKNOWN_ISA)
        #if arch(x86_64)
            XCTAssertEqual(ck_isa_force(CK_ISA_NEON), CK_ISA_NOT_AVAILABLE)
        #elseif arch(arm64)
            XCTAssertEqual(ck_isa_force(CK_ISA_AVX2), CK_ISA_NOT_AVAILABLE)
        #endif
        let blocks = [CK_ISA_PORTABLE: 4, CK_ISA_NEON: 4, CK_ISA_AVX2: 8, CK_ISA_AVX512: 16] as [ck_isa: Int32]
        forEachISA { isa in
            XCTAssertEqual(ck_isa_active(), isa)
            XCTAssertEqual(ck_block(), blocks[isa])
        }
        let names = (0..<CK_ISA_COUNT.rawValue).map { ck_isa(rawValue: $0).title }
        XCTAssertEqual(names, ["portable", "neon", "avx2", "avx512"])
    }

    func testDefaultThreads() {
        XCTAssertGreaterThanOrEqual(ck_default_threads(), 1)
        XCTAssertLessThanOrEqual(ck_default_threads(), 1024)
    }

    func testMemoryIsAlignedAndZero() throws {
        for size in [0, 1, 63, 64, 65, 4096, 1 << 20, (2 << 20) - 1, 2 << 20, (5 << 20) + 1] {
            let memory = try XCTUnwrap(ck_alloc(size), "\(size)")
            XCTAssertEqual(UInt(bitPattern: memory) % 64, 0)
            if size >= 2 << 20 { XCTAssertEqual(UInt(bitPattern: memory) % (2 << 20), 0) }
            let bytes = UnsafeRawBufferPointer(start: memory, count: size)
            XCTAssertEqual(memcmp(memory, [UInt8](repeating: 0, count: size), size), 0)
            memset(memory, 1, size)
            XCTAssertEqual(bytes.last ?? 1, 1)
            ck_free(memory, size)
        }
        ck_free(nil, 100)
        XCTAssertNil(ck_alloc(Int.max), "nothing is that large")
    }
}

extension ck_isa: @retroactive Hashable {
    public func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }
}
