// Wrong zip archives and tar archives: directories that lie, overlaps, bombs.

import ResNetSwift
import XCTest

@testable import ResNetWeights

final class WeightFileMalformedZipTests: XCTestCase {
    private let array = BuiltNpy.file(BuiltNpy.literal())

    private func zip(_ change: (inout BuiltZip.Member) -> Void) -> [UInt8] {
        BuiltZip(.init("w.npy", array, change)).build()
    }

    func testTheBuilderBuildsGoodArchives() throws {
        for deflated in [false, true] {
            let file = try WeightFile.open(bytes: zip { $0.deflated = deflated }, name: "right")
            XCTAssertEqual(try file.tensor("w").values, [0, 0, 0, 0])
        }
        let deferred = try WeightFile.open(bytes: Self.deferredSizes(array), name: "sizes after the data")
        XCTAssertEqual(deferred.entries.map(\.key), ["w"])
    }

    /// Flag 3 with zeros in the local header, as PyTorch's writer leaves them.
    private static func deferredSizes(_ data: [UInt8]) -> [UInt8] {
        var bytes = BuiltZip(.init("w.npy", data) { $0.flags = 8 }).build()
        for index in 18..<26 { bytes[index] = 0 }
        return bytes
    }

    func testNpzArchives() throws {
        let large: [UInt8] = BuiltNpy.file(BuiltNpy.literal(shape: "(100,)"), data: 400)
        let zip64 = littleEndianBytes(UInt16(1)) + littleEndianBytes(UInt16(16))
        let lying64 = zip64 + littleEndianBytes(UInt64(1 << 62)) + littleEndianBytes(UInt64(1 << 62))
        let full = Int(UInt32.max)
        var overlapping = BuiltZip(.init("a.npy", array), .init("b.npy", array))
        // The second local header is a copy inside the first member's data.
        overlapping.members[0].data = array + overlappingHeader(name: "b.npy")
        overlapping.members[1].offset = 30 + 5 + array.count
        var manyBombs = BuiltZip()
        for index in 0..<40 {
            manyBombs.members.append(
                .init("\(index).npy", [UInt8](repeating: 0, count: 10_000)) {
                    $0.deflated = true
                    $0.size = 10_000_000
                })
        }
        var badMetadata = BuiltZip(.init("w.npy", array))
        badMetadata.members.append(.init("__meta__.json", Array("{\"classes\": [}".utf8)))
        var badCount = BuiltZip(.init("w.npy", array))
        badCount.count = 2
        var fewerCount = BuiltZip(.init("w.npy", array), .init("v.npy", array))
        fewerCount.count = 1
        var badOffset = BuiltZip(.init("w.npy", array))
        badOffset.directoryOffset = full - 5
        var badSize = BuiltZip(.init("w.npy", array))
        badSize.directorySize = 10
        var tooManyMembers = BuiltZip(.init("w.npy", array)).build()
        tooManyMembers = endRecord64(tooManyMembers, count: 1 << 40)
        try checkMalformed([
            .init("zip-no-end", Array(zip { _ in }.dropLast(22)), "malformed", "zip directory: it is missing"),
            .init("zip-start-only", Array("PK\u{3}\u{4}".utf8), "truncated", "zip directory"),
            .init("zip-empty", BuiltZip().build(), "notWeights", "neither npy arrays nor a data.pkl"),
            .init(
                "zip-other", BuiltZip(.init("notes.txt", [0x68])).build(), "notWeights", "it holds: notes.txt"),
            .init("zip-encrypted", zip { $0.flags = 1 }, "unsupported", "w.npy is encrypted"),
            .init("zip-bzip2", zip { $0.method = 12 }, "unsupported", "method 12"),
            .init("zip-name-lie", zip { $0.localName = "v.npy" }, "malformed", "its local header says v.npy"),
            .init("zip-local-size-lie", zip { $0.localSize = 4 }, "malformed", "its local header says 4 bytes"),
            .init("zip-stored-size-lie", zip { $0.size = 500 }, "malformed", "are to become 500"),
            .init(
                "zip-past-end",
                zip {
                    $0.size = 5000
                    $0.compressedSize = 5000
                }, "truncated", "zip member w.npy needs 5000 bytes"),
            .init("zip-header-outside", zip { $0.offset = 1_000_000 }, "malformed", "is outside the file"),
            .init("zip-header-elsewhere", zip { $0.offset = 4 }, "malformed", "no local header at byte 4"),
            .init(
                "zip-duplicate", BuiltZip(.init("w.npy", array), .init("w.npy", array)).build(), "duplicateKey",
                "w.npy occurs twice"),
            .init("zip-overlap", overlapping.build(), "malformed", "members overlap"),
            .init("zip-count-high", badCount.build(), "truncated", "zip directory"),
            .init("zip-count-low", fewerCount.build(), "malformed", "bytes more than its members take"),
            .init("zip-directory-outside", badOffset.build(), "malformed", "outside the file"),
            .init("zip-directory-short", badSize.build(), "truncated", "zip directory"),
            .init("zip64-missing", zip { $0.offset = full }, "malformed", "outside the file"),
            .init(
                "zip64-field-short",
                zip {
                    $0.size = full
                    $0.centralExtra = zip64
                }, "truncated", "extra field"),
            .init(
                "zip64-size-lie",
                zip {
                    $0.size = full
                    $0.compressedSize = full
                    $0.centralExtra = lying64
                    $0.localExtra = lying64
                }, "truncated", "zip member w.npy needs 4611686018427387904"),
            .init(
                "zip64-size-beyond",
                zip {
                    $0.size = full
                    $0.compressedSize = full
                    $0.centralExtra = zip64 + [UInt8](repeating: 0xff, count: 16)
                }, "malformed", "beyond 2^63"),
            .init("zip64-count", tooManyMembers, "exceedsLimit", "1099511627776 members"),
            .init("zip64-record", endRecord64(zip { _ in }, count: 1, recordAt: 1 << 40), "malformed", "no record"),
            .init(
                "bomb-ratio",
                zip {
                    $0.deflated = true
                    $0.size = 1 << 30
                }, "exceedsLimit", "zip bomb"),
            .init("bomb-total", manyBombs.build(), "exceedsLimit", "zip bomb"),
            .init(
                "bomb-inflates-to-more",
                BuiltZip(
                    .init("w.npy", array + [UInt8](repeating: 0, count: 100_000)) {
                        $0.deflated = true
                        $0.size = self.array.count
                    }
                ).build(), "malformed", "more than it announces"),
            .init(
                "deflate-inflates-to-less",
                BuiltZip(
                    .init("w.npy", Array(large.prefix(200))) {
                        $0.deflated = true
                        $0.size = large.count
                    }
                ).build(), "truncated", "needs 400 bytes"),
            .init(
                "deflate-garbage", BuiltZip(.init("w.npy", [7, 7, 7, 7]) { $0.method = 8 }).build(), "malformed",
                "deflated data is corrupt"),
            .init(
                "deflate-crc",
                zip {
                    $0.deflated = true
                    $0.crc = 1
                }, "malformed", "checksum"),
            .init("metadata-broken", badMetadata.build(), "malformed", "__meta__.json"),
        ])
    }

    private func overlappingHeader(name: String) -> [UInt8] {
        let whole = BuiltZip(.init(name, array)).build()
        return Array(whole[..<(30 + name.utf8.count + array.count)])
    }

    /// The archive with a zip64 end record and locator before its end record.
    private func endRecord64(_ archive: [UInt8], count: UInt64, recordAt: Int? = nil) -> [UInt8] {
        let end = archive.count - 22
        var record: [UInt8] = [0x50, 0x4b, 6, 6] + littleEndianBytes(UInt64(44)) + [45, 0, 45, 0]
        record += [UInt8](repeating: 0, count: 8) + littleEndianBytes(count) + littleEndianBytes(count)
        record += littleEndianBytes(UInt64(1)) + littleEndianBytes(UInt64(1))
        let locator: [UInt8] =
            [0x50, 0x4b, 6, 7, 0, 0, 0, 0] + littleEndianBytes(UInt64(recordAt ?? end)) + [1, 0, 0, 0]
        return Array(archive[..<end]) + record + locator + Array(archive[end...])
    }

    func testTarArchives() throws {
        typealias T = BuiltTorch
        func tar(
            storages: [UInt8] = T.tarStorages(), tensors: [UInt8] = T.tarTensors(), pickle: [UInt8] = T.tarPickle
        ) -> [UInt8] {
            T.tar(storages: storages, tensors: tensors, pickle: pickle)
        }
        let right = try WeightFile.open(bytes: tar(), name: "right")
        XCTAssertEqual(try right.tensor("w").values, [0, 0, 0, 0])
        var checksum = tar()
        let secondHeader = checksum.indices.first {
            $0.isMultiple(of: 512) && checksum[$0...].starts(with: "tensors".utf8)
        }!
        checksum[secondHeader] ^= 1
        let view =
            BuiltPickle.emptyList
            + BuiltPickle.integers([8, 7, 2, 4]) + [0x61]
        try checkMalformed([
            .init("tar-checksum", checksum, "malformed", "no valid header at byte"),
            .init("tar-other", T.tarMember("readme", [0x68]), "notWeights", "without the member storages"),
            .init("tar-size", T.tarMember("storages", [], size: "77777777777"), "truncated", "tar member storages"),
            .init("tar-size-text", T.tarMember("storages", [], size: "12 elephants"), "truncated", "storages"),
            .init("tar-size-none", T.tarMember("storages", [], size: "elephants"), "malformed", "no valid size"),
            .init(
                "tar-duplicate", T.tarMember("storages", []) + T.tarMember("./storages", []), "duplicateKey", "storages"
            ),
            .init("tar-storage-count", tar(storages: T.tarStorages(announced: 2)), "malformed", "storages"),
            .init("tar-storage-count-negative", tar(storages: T.tarStorages(announced: -1)), "malformed", "no count"),
            .init("tar-storage-long", tar(storages: T.tarStorages(count: 1 << 40)), "truncated", "storages"),
            .init("tar-storage-overflow", tar(storages: T.tarStorages(count: .max)), "malformed", "elements"),
            .init("tar-storage-negative", tar(storages: T.tarStorages(count: -4)), "malformed", "-4 elements"),
            .init("tar-view-outside", tar(storages: T.tarStorages(views: view)), "malformed", "view of a storage"),
            .init("tar-storages-trailing", tar(storages: T.tarStorages() + [0]), "malformed", "1 bytes more"),
            .init("tar-tensor-count", tar(tensors: T.tarTensors(announced: 1 << 40)), "truncated", "tensors"),
            .init(
                "tar-tensor-storage", tar(tensors: T.tarTensors(storage: 8)), "malformed", "(key, storage key, class)"),
            .init("tar-rank", tar(tensors: T.tarTensors(rank: 1000)), "malformed", "rank 1000"),
            .init("tar-rank-negative", tar(tensors: T.tarTensors(rank: -1)), "malformed", "rank -1"),
            .init(
                "tar-shape-negative", tar(tensors: T.tarTensors(shape: [-4])), "malformed", "negative or overflowing"),
            .init("tar-stride-outside", tar(tensors: T.tarTensors(strides: [2])), "malformed", "reaches element 6"),
            .init("tar-offset-overflow", tar(tensors: T.tarTensors(offset: .max)), "malformed", "strides"),
            .init(
                "tar-id", tar(pickle: BuiltPickle.dict(BuiltPickle.integer(10) + BuiltPickle.persistentId)),
                "malformed",
                "names no tensor"),
        ])
    }
}
