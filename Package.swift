// swift-tools-version: 6.2
// The manifest says 6.2 because SwiftPM lets a versioned dependency use unsafeFlags (-O3, -fopenmp) only from there on.
import PackageDescription

/// A room of the library: one folder, one module. What it does not name here it cannot import; RoomsTests holds the list
/// against DESIGN.md's.
func room(_ folder: String, _ dependencies: Target.Dependency...) -> Target {
    .target(name: "ResNet\(folder)", dependencies: dependencies, path: "Sources/ResNetSwift/\(folder)")
}

let package = Package(
    name: "ResNetSwift",
    products: [
        .library(name: "CKernels", targets: ["CKernels"]),
        .library(name: "ResNetSwift", targets: ["ResNetSwift"]),
        .executable(name: "resnet", targets: ["resnet"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
    ],
    targets: [
        .target(
            name: "CKernels",
            cSettings: [
                .headerSearchPath("."),
                // -O3 here and not by configuration: a debug build must not run its kernels at -O0.
                .unsafeFlags(["-O3", "-fopenmp", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=fast"]),
            ],
            linkerSettings: [.linkedLibrary("omp5"), .linkedLibrary("openblas"), .linkedLibrary("m")]
        ),
        .target(name: "CReference", cSettings: [.unsafeFlags(["-O2"])]),
        .target(
            name: "CImageCodecs",
            cSettings: [.unsafeFlags(["-O2"])],
            linkerSettings: [.linkedLibrary("turbojpeg"), .linkedLibrary("png"), .linkedLibrary("z")]
        ),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        room("Support", "CZlib"),
        room("Graph", "ResNetSupport"),
        room("Models", "ResNetGraph", "ResNetSupport"),
        room("Weights", "ResNetModels", "ResNetGraph", "ResNetSupport", "CZlib"),
        room("ONNX", "ResNetModels", "ResNetGraph", "ResNetSupport"),
        room("Data", "ResNetWeights", "ResNetGraph", "ResNetSupport", "CKernels", "CImageCodecs"),
        room("Execution", "ResNetGraph", "ResNetSupport", "CKernels"),
        room(
            "Training", "ResNetExecution", "ResNetData", "ResNetWeights", "ResNetModels", "ResNetGraph",
            "ResNetSupport"),
        // What users import: it re-exports the rooms above.
        .target(
            name: "ResNetSwift",
            dependencies: [
                "ResNetTraining", "ResNetExecution", "ResNetData", "ResNetONNX", "ResNetWeights", "ResNetModels",
                "ResNetGraph", "ResNetSupport",
            ], path: "Sources/ResNetSwift/ResNetSwift"),
        // libresnet.so, which scripts/build_libresnet.sh links: whole networks for C and Python.
        .target(name: "CResNetHeader"),
        .target(name: "LibResNet", dependencies: ["CResNetHeader", "ResNetSwift"]),
        .executableTarget(
            name: "resnet",
            dependencies: [
                "ResNetSwift", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]
        ),
        // For scripts/check_gradients_against_torch.py.
        .executableTarget(name: "training-steps", dependencies: ["ResNetSwift"], path: "scripts/training_steps"),
        .testTarget(name: "ResNetSwiftTests", dependencies: ["ResNetSwift", "CReference"]),
        .testTarget(name: "ResNetToolTests", dependencies: ["ResNetSwift", "resnet"]),
    ],
    cLanguageStandard: .gnu11
)
