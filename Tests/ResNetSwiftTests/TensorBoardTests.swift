// Event files, read back by rules written here, and a record as tensorboard writes it.

import Foundation
import XCTest

@testable import ResNetTraining

final class TensorBoardTests: XCTestCase {
    func testChecksum() {
        // RFC 3720, B.4, and the usual check value.
        XCTAssertEqual(TensorBoardLog.crc32c(Array("123456789".utf8)), 0xE306_9283)
        XCTAssertEqual(TensorBoardLog.crc32c([UInt8](repeating: 0, count: 32)), 0x8A91_36AA)
        XCTAssertEqual(TensorBoardLog.crc32c([UInt8](repeating: 255, count: 32)), 0x62A8_AB43)
    }

    /// What tensorboard 2.21 writes for Event(wall_time=1.5, step=3, file_version="brain.Event:2").
    func testARecordIsTensorBoardsOwn() {
        let event = TensorBoardLog.event(seconds: 1.5, step: 3) { $0.text(3, "brain.Event:2") }
        XCTAssertEqual(
            TensorBoardLog.record(event),
            [
                26, 0, 0, 0, 0, 0, 0, 0, 18, 155, 216, 45, 9, 0, 0, 0, 0, 0, 0, 248, 63, 16, 3, 26, 13, 98, 114, 97,
                105, 110,
                46, 69, 118, 101, 110, 116, 58, 50, 227, 192, 185, 92,
            ])
    }

    func testEpochsAreReadBack() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("events-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let log = try TensorBoardLog(folder: folder)
        let records = (0..<3).map { epoch in
            EpochRecord(
                epoch: epoch + 127, learningRate: 0.1 / Double(epoch + 1), training: Scores(loss: 0.5, top1: 0.25),
                validation: epoch == 1 ? nil : Scores(loss: 0.75, topK: 0.9, macroF1: 0.3), seconds: 2)
        }
        for record in records { try log.write(record) }
        XCTAssertTrue(log.path.hasPrefix("\(folder)/events.out.tfevents."))
        let events = try read(Array(Data(contentsOf: URL(fileURLWithPath: log.path))))
        XCTAssertEqual(events.map(\.step), [0, 128, 129, 130])
        XCTAssertEqual(events[0].version, "brain.Event:2")
        XCTAssertEqual(
            events[1].values,
            [
                "loss/training": 0.5, "top1/training": 0.25, "loss/validation": 0.75, "topk/validation": 0.9,
                "f1/validation": 0.3, "learning_rate": 0.1, "seconds": 2,
            ])
        XCTAssertEqual(events[2].values.keys.sorted(), ["learning_rate", "loss/training", "seconds", "top1/training"])
        XCTAssertEqual(events[3].wall, Date().timeIntervalSince1970, accuracy: 60)

        try TensorBoardLog.removeAll(in: folder)
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder), [])
        XCTAssertNoThrow(try TensorBoardLog.removeAll(in: folder + "/nowhere"))
        XCTAssertThrowsError(try TensorBoardLog(folder: "/proc/nowhere"))
    }

    private struct Event {
        var wall = 0.0
        var step = 0
        var version = ""
        var values: [String: Float] = [:]
    }

    private func read(_ bytes: [UInt8]) throws -> [Event] {
        var events: [Event] = []
        var place = 0
        func word(_ count: Int, at place: Int) -> Int {
            (0..<count).reduce(0) { $0 | Int(bytes[place + $1]) << (8 * $1) }
        }
        while place < bytes.count {
            let length = word(8, at: place)
            for (from, to) in [(place, place + 8), (place + 12, place + 12 + length)] {
                let sum = TensorBoardLog.crc32c(Array(bytes[from..<to]))
                XCTAssertEqual(word(4, at: to), Int((sum >> 15 | sum << 17) &+ 0xa282_ead8))
            }
            var event = Event()
            try fields(bytes[place + 12..<place + 12 + length]) { field, number, content in
                switch field {
                case 1: event.wall = Double(bitPattern: number)
                case 2: event.step = Int(number)
                case 3: event.version = String(decoding: content, as: UTF8.self)
                case 5:
                    try fields(content) { _, _, value in
                        var (tag, simple) = ("", Float.nan)
                        try fields(value) { field, number, content in
                            if field == 1 { tag = String(decoding: content, as: UTF8.self) }
                            if field == 2 { simple = Float(bitPattern: UInt32(number)) }
                        }
                        event.values[tag] = simple
                    }
                default: XCTFail("field \(field)")
                }
            }
            events.append(event)
            place += 16 + length
        }
        return events
    }

    private func fields(_ bytes: ArraySlice<UInt8>, _ body: (Int, UInt64, ArraySlice<UInt8>) throws -> Void) throws {
        var rest = bytes
        func varint() -> UInt64 {
            var (value, shift) = (UInt64(0), UInt64(0))
            while let byte = rest.popFirst() {
                value |= UInt64(byte & 127) << shift
                shift += 7
                if byte < 128 { break }
            }
            return value
        }
        func take(_ count: Int) -> ArraySlice<UInt8> {
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }
        while !rest.isEmpty {
            let key = Int(varint())
            switch key & 7 {
            case 0: try body(key >> 3, varint(), [])
            case 1: try body(key >> 3, take(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }, [])
            case 2: try body(key >> 3, 0, take(Int(varint())))
            case 5: try body(key >> 3, take(4).reversed().reduce(0) { $0 << 8 | UInt64($1) }, [])
            default: XCTFail("a key of \(key)")
            }
        }
    }
}
