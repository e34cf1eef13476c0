// The command line tool: `resnet COMMAND ...`. Results go to standard output, everything else to standard error.
//
// Exit codes: 0 all is well; 1 nothing came of it; 2 some pictures failed, the others are done; 64 wrong usage.

import ArgumentParser
import Glibc
import ResNetSwift

@main
struct ResNetTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resnet",
        abstract: "ResNets on CPUs: classify pictures, train, run, convert, inspect and time networks.",
        discussion: """
            EXAMPLES
              resnet classify photo.jpg --weights resnet50.pth
              resnet classify folder --weights model.safetensors --json > results.jsonl
              resnet train photos --weights resnet18.pth --freeze allButHead --epochs 10
              resnet predict --weights model.safetensors --input x.npy --output logits.npy
              resnet inspect resnet50.pth
              resnet convert resnet50.pth resnet50.safetensors
              resnet time --model resnet50 --batch 8 --threads 2

            CK_ISA=avx2 (avx512, neon, portable) forces an instruction set; CK_CACHES=32K,512K,32M plans for other \
            caches than the machine's; OMP_NUM_THREADS sets the default number of threads.
            """,
        version: "resnet \(Machine.kernelVersion)",
        subcommands: [
            ClassifyCommand.self, PredictCommand.self, EmbedCommand.self, InspectCommand.self, SummaryCommand.self,
            ConvertCommand.self, InitCommand.self, TimeCommand.self, ProfileCommand.self, DescribeCommand.self,
            TrainCommand.self, LearningRateCommand.self, EvaluateCommand.self, VerifyCommand.self,
        ])

    static func main() {
        _ = ProcessClock.mainStarted
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            finish(with: error)
        }
        fflush(nil)
    }

    /// Help and version print as they are; everything else is one line that begins with `resnet: error:`, then the usage
    /// where the call was wrong.
    private static func finish(with error: any Error) -> Never {
        fflush(nil)
        let code = exitCode(for: error)
        if code.isSuccess {
            print(fullMessage(for: error))
        } else if code == .validationFailure {
            let lines = fullMessage(for: error).split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
            let message = lines[0].hasPrefix("Error: ") ? lines[0].dropFirst(7) : lines[0]
            Terminal.error(String(message))
            if lines.count > 1 { Terminal.write("\(lines[1])\n") }
        } else if !(error is ExitCode) {
            Terminal.error("\(error)")
        }
        fflush(nil)
        Glibc.exit(code.rawValue)
    }
}

/// A fault that no library type stands for. The text says what, where, what was expected and what was found.
struct ToolError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
