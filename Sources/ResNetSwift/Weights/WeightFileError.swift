// What can be wrong with a weight file. Readers throw a `WeightFault`; the public calls add the file's name to it.

import ResNetSupport

/// The one error of everything in Weights/: which file, and what is the matter with it.
public struct WeightFileError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file.
    public let path: String
    /// What is the matter with it.
    public let fault: WeightFault

    public init(path: String, fault: WeightFault) {
        self.path = path
        self.fault = fault
    }

    public var description: String { "\(path): \(fault)" }
}

/// What can be wrong with a weight file; see <doc:LoadingWeights> for what to do.
public enum WeightFault: Error, Sendable, Equatable {
    /// The operating system refused: no such file, a directory, no permission.
    case cannotRead(String)
    /// The operating system refused, e.g. a full disk; what stood there before is intact.
    case cannotWrite(String)
    /// A web page saved under the name of a weight file.
    case htmlPage
    /// The pointer that Git LFS leaves where the real file was not fetched.
    case gitLFSPointer
    /// Readable, but no container of weights; says what it looks like.
    case notWeights(String)
    /// `part` ends before all that it announces.
    case truncated(part: String, needed: Int, available: Int)
    /// `part` contradicts itself or its format.
    case malformed(part: String, problem: String)
    /// Well-formed, but nothing that this library reads.
    case unsupported(String)
    /// A pickle asks for Python's extension registry. Nothing was executed.
    case forbiddenPickle(String)
    /// Larger than any honest file: nesting, header, memo, or a zip bomb.
    case exceedsLimit(String)
    /// Two tensors of one name.
    case duplicateKey(String)
    /// No tensor of that name.
    case noSuchKey(String)
    /// Nothing lies under a key or prefix that was asked for; what does.
    case notFound(String, choices: [String])
    /// Several networks, and nothing says which is meant.
    case ambiguous(choices: [String])
    /// A network of the same names and shapes as one of this library that computes something else.
    case otherNetwork(String)
    /// The tensors are not those of the model.
    case doesNotFit(LoadReport)
    /// More or fewer class names than classes.
    case classNames(String)
}

extension WeightFault: CustomStringConvertible {
    public var description: String {
        switch self {
        case .cannotRead(let reason): "cannot be read: \(reason)"
        case .cannotWrite(let reason): "cannot be written: \(reason)"
        case .htmlPage:
            "this is an HTML page saved under the name of a weight file; the download went to a web page, not to the file"
        case .gitLFSPointer:
            "this is a Git-LFS pointer, not the weights; fetch the real file with `git lfs pull`"
        case .notWeights(let what): "not a weight file: \(what)"
        case .truncated(let part, let needed, let available):
            "truncated: \(part) needs \(needed) bytes, \(available) are there"
        case .malformed(let part, let problem): "malformed \(part): \(problem)"
        case .unsupported(let what): "unsupported: \(what)"
        case .forbiddenPickle(let what): "refused, nothing was executed: \(what)"
        case .exceedsLimit(let what): "exceeds a limit: \(what)"
        case .duplicateKey(let key): "the key \(key) occurs twice"
        case .noSuchKey(let key): "has no tensor \(key)"
        case .notFound(let what, let choices):
            "has no \(what)" + (choices.isEmpty ? "" : "; there are: \(choices.joined(separator: ", "))")
        case .ambiguous(let choices):
            "holds several networks; choose one by its key or prefix: \(choices.joined(separator: ", or "))"
        case .otherNetwork(let what): "a network that is not built here: \(what)"
        case .doesNotFit(let report): "does not fit the model: \(report)"
        case .classNames(let what): what
        }
    }
}

extension WeightFault {
    /// What the operating system refused, as the fault of a weight file.
    init(_ fault: FileFault) {
        switch fault {
        case .cannotRead(let reason): self = .cannotRead(reason)
        case .cannotWrite(let reason): self = .cannotWrite(reason)
        case .isEmpty: self = .notWeights("the file is empty")
        }
    }
}

/// Runs a reader and gives its fault the file's name.
func naming<R>(_ path: String, _ body: () throws(WeightFault) -> R) throws(WeightFileError) -> R {
    do { return try body() } catch { throw WeightFileError(path: path, fault: error) }
}

/// Opens or writes a file and gives its fault the file's name.
package func naming<R>(_ path: String, _ body: () throws(FileFault) -> R) throws(WeightFileError) -> R {
    do { return try body() } catch { throw WeightFileError(path: path, fault: WeightFault(error)) }
}
