// Whatever the environment, the limits and the open files are: results or an error, never a signal, and nothing of one file in
// another.

import Foundation
import ResNetSwift
import XCTest

final class ToolEnvironmentTests: XCTestCase {
    private let classify = ["classify", "demo/digits/one_1.png", "--weights", "demo/digits.safetensors", "--json"]

    /// Names with a value that means nothing, and what most programs of the shell and of OpenMP look at.
    func testVariablesThatMakeNoSense() throws {
        let folder = try ToolFolder()
        let variables: [(String, [String])] = [
            ("OMP_NUM_THREADS", ["", "0", "-1", "x", "99999999999999999999", "1,2", " 2", "1e9"]),
            ("OMP_STACKSIZE", ["", "x", "1", "-1", "99999999999G", "256k", " 1 m"]), ("KMP_STACKSIZE", ["1", "x"]),
            ("OMP_PLACES", ["", "x"]), ("OMP_THREAD_LIMIT", ["", "0", "1"]), ("OMP_DYNAMIC", ["x"]),
            ("OMP_MAX_ACTIVE_LEVELS", ["0"]), ("KMP_AFFINITY", ["x"]), ("OPENBLAS_NUM_THREADS", ["x", "-5"]),
            ("OPENBLAS_CORETYPE", ["x"]), ("CK_WISDOM", ["", "/proc/nowhere/x"]), ("LC_ALL", ["tr_TR.UTF-8"]),
            ("HOME", [""]), ("TMPDIR", ["/proc/nowhere"]), ("COLUMNS", ["", "0", "-1", "x"]),
            ("MALLOC_PERTURB_", ["85"]),
        ]
        for (name, values) in variables {
            for value in values {
                // Two threads: one opens no region of OpenMP.
                let threads = name.hasSuffix("NUM_THREADS") ? [] : ["--threads", "2"]
                let result = try folder.resnet(classify + threads, environment: [name: value])
                XCTAssertEqual(result.status, 0, "\(name)='\(value)': \(result.error)")
                XCTAssertEqual(result.lines.count, 1, "\(name)='\(value)'")
            }
        }
        for (name, value) in [("CK_ISA", ""), ("CK_ISA", "x"), ("CK_CACHES", "x"), ("CK_CACHES", "0,0,0")] {
            let result = try folder.resnet(classify, environment: [name: value])
            XCTAssert([0, 1].contains(result.status), "\(name)='\(value)': \(result.status)")
            XCTAssertEqual(result.status == 0, !result.output.isEmpty)
        }
    }

    func testClosedDescriptors() throws {
        let folder = try ToolFolder()
        let good = try folder.resnet(classify)
        XCTAssertEqual(good.status, 0)
        for closing in ["exec <&-", "exec 2>&-", "exec <&- 2>&-"] {
            let result = try folder.resnet(classify, under: closing)
            XCTAssertEqual(result.status, 0, closing)
            XCTAssertEqual(result.output, good.output, closing)
        }
        // Results that go nowhere are a failure, and do not get into the file that is written meanwhile.
        for closing in ["exec >&-", "exec <&- >&-", "exec <&- >&- 2>&-", "exec > /dev/full"] {
            XCTAssertEqual(try folder.resnet(classify, under: closing).status, 1, closing)
            let embed = ["embed", "demo/digits", "--weights", "demo/digits.safetensors", "--output", "h.npy"]
            XCTAssertEqual(try folder.resnet(embed, under: closing).status, 1, closing)
            XCTAssertEqual(try folder.array("h.npy").shape, [20, 64], closing)
        }
    }

    func testLimits() throws {
        let folder = try ToolFolder()
        for limit in [
            "ulimit -n 4", "ulimit -n 8", "ulimit -n 16", "ulimit -s 256", "ulimit -s 64", "ulimit -s 32",
            "ulimit -c 0", "ulimit -l 0",
            "ulimit -v 150000", "ulimit -v 200000",
        ] {
            // OpenBLAS would have a thread of its own, whatever it has memory for.
            let result = try folder.resnet(
                classify, environment: ["OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"], under: limit)
            XCTAssert([0, 1].contains(result.status), "\(limit): \(result.status)")
            XCTAssertEqual(result.status == 0, !result.output.isEmpty, "\(limit): \(result.error)")
            if result.status == 1 { XCTAssertFalse(result.error.isEmpty, limit) }
        }
    }

    /// LLVM's OpenMP keeps a note in shared memory, which it may not make here: what is asked for is computed all the same.
    func testFilesThatMayNotHoldAKilobyte() throws {
        let folder = try ToolFolder()
        let threads = ["--threads", "2"]
        let weights = ["--weights", "demo/digits.safetensors"] + threads
        let limit = "ulimit -f 1"  // 512 bytes; results go to files here
        let best = classify + ["--top", "1"] + threads
        let limited = try folder.resnet(best, under: limit)
        XCTAssertEqual(limited.status, 0, limited.error)
        XCTAssertEqual(limited.output, try folder.resnet(best).output)
        for command in [
            ["embed", "demo/digits", "--output", "h.npy"] + weights,
            ["convert", "demo/digits.safetensors", "digits.npz"],
            ["init", "cifar_resnet14", "start.safetensors"],
            ["train", "demo/digits.npz", "--epochs", "1", "--batch", "512", "--out", "run"] + weights,
        ] {
            let result = try folder.resnet(command, under: limit)
            XCTAssertEqual(result.status, 1, "\(command): \(result.error)")
            XCTAssert(result.error.contains("File too large"), "\(command): \(result.error)")
        }
    }

    func testOutputsThatCannotBeWritten() throws {
        let folder = try ToolFolder()
        let weights = ["--weights", "demo/digits.safetensors"]
        try folder.writePictures([1, 1, 32, 32], to: "x.npy")
        try folder.write("x", "file")
        for target in ["/proc/nowhere/y.npy", "/dev/full", "demo", "file/y.npy"] {
            for command in [
                ["predict", "--input", "x.npy", "--output", target] + weights,
                ["embed", "x.npy", "--output", target] + weights,
                ["convert", "demo/digits.safetensors", target.replacingOccurrences(of: ".npy", with: ".npz")],
                ["init", "cifar_resnet14", target.replacingOccurrences(of: ".npy", with: ".npz")],
                ["lr-find", "demo/digits.npz", "--updates", "2", "--batch", "4", "--out", target] + weights,
                [
                    "train", "demo/digits.npz", "--epochs", "1", "--overwrite", "--out",
                    target == "demo" ? "file" : target,
                ] + weights,
            ] where !["convert", "init"].contains(command[0]) || target.hasSuffix(".npy") {
                let result = try folder.resnet(command)
                XCTAssertEqual(result.status, 1, "\(command): \(result.error)")
                XCTAssert(result.error.contains("resnet: error: "), "\(command): \(result.error)")
            }
        }
    }
}
