// swift-tools-version: 6.2
// A package of its own, as yours would be. In yours the dependency is a URL and a version instead of the path:
//
//     .package(url: "https://example.com/ResNetSwift.git", from: "0.1.0")
import PackageDescription

func example(_ name: String) -> Target {
    .executableTarget(
        name: name,
        dependencies: [
            "Support", .product(name: "ResNetSwift", package: "ResNetSwift"),
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
        ],
        path: name, exclude: ["README.md"])
}

let package = Package(
    name: "Examples",
    products: [
        .executable(name: "cats-and-dogs", targets: ["CatsAndDogs"]),
        .executable(name: "cifar", targets: ["CIFAR"]),
        .executable(name: "posture", targets: ["Posture"]),
        .executable(name: "protein-atlas", targets: ["ProteinAtlas"]),
        .executable(name: "glomeruli", targets: ["Glomeruli"]),
        .executable(name: "four-situations", targets: ["FourSituations"]),
    ],
    dependencies: [
        .package(name: "ResNetSwift", path: "../.."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        example("CatsAndDogs"), example("CIFAR"), example("Posture"), example("ProteinAtlas"), example("Glomeruli"),
        example("FourSituations"),
        // Draws small data sets, so that the examples run where nobody has the real ones.
        .target(
            name: "Support", dependencies: [.product(name: "ResNetSwift", package: "ResNetSwift")], path: "Support"),
    ]
)
