// The JSON reader takes what RFC 8259 allows and nothing else.

import Foundation
import ResNetSwift
import XCTest

final class StrictJSONTests: XCTestCase {
    func testValues() throws {
        let cases: [(String, JSONValue)] = [
            ("null", .null), ("true", .bool(true)), (" false\n", .bool(false)), ("0", .integer(0)),
            ("-7", .integer(-7)),
            ("9223372036854775807", .integer(.max)), ("9223372036854775808", .number(9_223_372_036_854_775_808)),
            ("1.5", .number(1.5)), ("-0.0", .number(-0.0)), ("1e3", .number(1000)), ("2E-2", .number(0.02)),
            ("[]", .array([])),
            ("{}", .object([])), ("[1, [2]]", .array([.integer(1), .array([.integer(2)])])),
            ("\"\"", .string("")), ("\"a\\u0041\\n\\\"\\\\\\/\\b\\f\\r\\t\"", .string("aA\n\"\\/\u{8}\u{c}\r\t")),
            ("\"\\ud83d\\udc3c é\"", .string("\u{1F43C} é")),
            ("{\"b\":1,\"a\":2}", .object([.init(key: "b", value: .integer(1)), .init(key: "a", value: .integer(2))])),
        ]
        for (text, value) in cases { XCTAssertEqual(try JSONValue.parse(text), value, text) }
    }

    func testErrors() {
        let texts = [
            "", " ", "nul", "tru e", "01", "+1", "1.", ".5", "1e", "1e+", "-", "NaN", "Infinity", "-Infinity", "1e400",
            "[1,]",
            "[1 2]", "[", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}", "{1:1}", "{\"a\":1", "\"", "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\t\"", "1 2", "[] []", "// a\n1", "\u{feff}1",
            "0x10",
        ]
        for text in texts {
            XCTAssertThrowsError(try JSONValue.parse(text), text) {
                XCTAssertEqual(($0 as? JSONError)?.kind, .syntax, text)
            }
        }
        for text in ["{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":2}", "[{\"a\":{},\"b\":{},\"a\":{}}]"] {
            XCTAssertThrowsError(try JSONValue.parse(text)) {
                XCTAssertEqual(($0 as? JSONError)?.kind, .duplicateKey("a"), text)
            }
        }
        for text in [String(repeating: "[", count: 40), "[" + String(repeating: "0,", count: 400_001) + "0]"] {
            XCTAssertThrowsError(try JSONValue.parse(text)) { XCTAssertEqual(($0 as? JSONError)?.kind, .limit) }
        }
    }

    func testTextIsParsedBackByUsAndByFoundation() throws {
        let value = JSONValue.object([
            .init(key: "text \u{1} \"\\\n\u{1F43C}", value: .string("\u{0}\u{1f}é")), .init(key: "none", value: .null),
            .init(key: "numbers", value: .array([.integer(.min), .number(1e-05), .number(-2.5e300), .number(0.1)])),
            .init(key: "flags", value: .array([.bool(true), .bool(false)])), .init(key: "empty", value: .object([])),
        ])
        XCTAssertEqual(try JSONValue.parse(value.text), value)
        let parsed = try XCTUnwrap(try JSONSerialization.jsonObject(with: Data(value.text.utf8)) as? [String: Any])
        XCTAssertEqual(parsed["text \u{1} \"\\\n\u{1F43C}"] as? String, "\u{0}\u{1f}é")
        XCTAssertEqual(parsed["numbers"] as? [Double], [Double(Int.min), 1e-05, -2.5e300, 0.1])
        XCTAssertEqual(JSONValue.array([.number(.nan), .number(.infinity)]).text, "[null,null]")
    }
}
