// swift-tools-version: 6.2
// A package of its own, so that nobody who uses the library builds it. See fuzz/run.sh.
import PackageDescription

let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "ResNetSwift", path: "..")],
    targets: [
        .target(name: "CFuzzer"),
        .executableTarget(
            name: "fuzz",
            dependencies: [
                "CFuzzer", .product(name: "CKernels", package: "ResNetSwift"),
                .product(name: "ResNetSwift", package: "ResNetSwift"),
            ]),
    ]
)
