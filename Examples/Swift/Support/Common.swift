// What several examples say.

import FoundationEssentials

/// One line for the person who runs an example.
public struct ExampleError: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Three places.
public func rounded(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }

/// The handwritten digits of this repository.
public let digits: String = {
    // This file is Examples/Swift/Support/Common.swift.
    var folder = #filePath.split(separator: "/")
    folder.removeLast(4)
    return "/" + folder.joined(separator: "/") + "/demo/digits.npz"
}()
