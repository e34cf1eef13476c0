// The command line tool: `resnet COMMAND ...`. Results go to standard output, everything else to standard error.
//
// Exit codes: 0 everything was done; 1 the command failed; 2 some inputs were skipped, everything else was done; 64 wrong
// usage; 128 + signal where a signal ended it.

import ArgumentParser
// `stdout` is a C variable, which nobody here assigns.
@preconcurrency import Glibc
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
            ClassifyCommand.self, PredictCommand.self, EmbedCommand.self, InspectCommand.self, ModelsCommand.self,
            SummaryCommand.self,
            ConvertCommand.self, QuantizeCommand.self, InitCommand.self, TimeCommand.self, ProfileCommand.self,
            DescribeCommand.self, ExplainCommand.self,
            TrainCommand.self, LearningRateCommand.self, EvaluateCommand.self, VerifyCommand.self,
        ])

    static func main() {
        _ = ProcessClock.mainStarted
        if hasSmallStack, case .success(let thread) = startThread(leastStack: 8 << 20, { run() }) {
            pthread_join(thread, nil)
        }
        run()
    }

    /// Swift's runtime overflows a first thread whose stack may not grow (`ulimit -s 24`), already where a `for` loop asks
    /// for the type of its iterator. So nothing else comes before this.
    private static var hasSmallStack: Bool {
        var limit = rlimit()
        return getrlimit(__rlimit_resource_t(RLIMIT_STACK.rawValue), &limit) == 0 && limit.rlim_cur < 1 << 20
    }

    /// The command line, to the end of the process.
    private static func run() -> Never {
        restartWithoutThreadsOfOpenBLAS()
        // A file that may not grow any more is an error of its write, not the end of the process.
        signal(SIGXFSZ, SIG_IGN)
        Terminal.openMissingDescriptors()
        do {
            var command = try parseAsRoot(arguments())
            try command.run()
        } catch {
            finish(with: error)
        }
        Glibc.exit(flushed(.success).rawValue)
    }

    /// OpenBLAS starts threads before `main`, each of which asks for 128 MB until it gets them. Under a limit of memory
    /// (`ulimit -v`) that may be never, and the process would wait for them at its end. They have nothing to do here: the
    /// threads that compute are the kernels' own.
    private static func restartWithoutThreadsOfOpenBLAS() {
        let isLimited = [RLIMIT_AS, RLIMIT_DATA].contains { resource in
            var limit = rlimit()
            return getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0 && limit.rlim_cur != rlim_t.max
        }
        let name = "OPENBLAS_NUM_THREADS"
        guard isLimited, getenv(name).map({ String(cString: $0) }) != "1", setenv(name, "1", 1) == 0 else { return }
        // Comes back only if it fails; then all goes on as it is.
        _ = execv("/proc/self/exe", CommandLine.unsafeArgv)
    }

    /// File names among them need not be UTF-8.
    private static func arguments() -> [String] {
        (1..<max(Int(CommandLine.argc), 1)).compactMap { index in
            CommandLine.unsafeArgv[index].map { String(fileName: $0) }
        }
    }

    /// Results that could not be written are a failure, whatever the command thought.
    private static func flushed(_ code: ExitCode) -> ExitCode {
        guard fflush(stdout) != 0 || ferror(stdout) != 0 else { return code }
        Terminal.error("standard output: the results could not be written: \(String(cString: strerror(errno)))")
        return .failure
    }

    /// Help and version print as they are; everything else is one line that begins with `resnet: error:`, then the usage
    /// where the call was wrong.
    private static func finish(with error: any Error) -> Never {
        fflush(nil)
        let code = exitCode(for: error)
        if code.isSuccess {
            Output.text(fullMessage(for: error))
        } else if code == .validationFailure {
            let lines = fullMessage(for: error).split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
            let message = lines[0].hasPrefix("Error: ") ? lines[0].dropFirst(7) : lines[0]
            Terminal.error(String(message))
            if let near = nearestCommand() { Terminal.note("did you mean `resnet \(near)`?") }
            if lines.count > 1 { Terminal.write("\(String(lines[1]).escapedForTerminal(keepingLines: true))\n") }
        } else if !(error is ExitCode) {
            Terminal.error("\(error)")
            if case .unknownModel? = error as? ModelError { Terminal.note("`resnet models` lists the names") }
        }
        Glibc.exit(flushed(code).rawValue)
    }

    /// The command that a mistyped first word is closest to.
    private static func nearestCommand() -> String? {
        guard CommandLine.argc > 1 else { return nil }
        let word = CommandLine.arguments[1]
        let names = configuration.subcommands.compactMap { $0.configuration.commandName }
        guard !word.hasPrefix("-"), word != "help", !names.contains(word) else { return nil }
        let ranked = names.map { (distance: editDistance($0, word), name: $0) }.min { $0.distance < $1.distance }
        return ranked.flatMap { $0.distance <= max(2, word.count / 3) ? $0.name : nil }
    }
}

/// A fault that no library type stands for. The text says what, where, what was expected and what was found.
struct ToolError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
