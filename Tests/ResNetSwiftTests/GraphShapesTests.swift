import ResNetSwift
import XCTest

final class GraphShapesTests: XCTestCase {
    private func lastShape(_ size: (Int, Int), _ build: (inout Graph, Node) -> Void) throws -> NodeShape {
        var graph = Graph(modelName: "Test")
        let x = graph.add("input", .input(channels: 8))
        build(&graph, x)
        let shapes = try graph.shapes(input: ImageShape(channels: 8, height: size.0, width: size.1))
        return shapes[shapes.count - 1]
    }

    private func map(_ c: Int, _ h: Int, _ w: Int) -> NodeShape {
        .map(ImageShape(channels: c, height: h, width: w))
    }

    func testConvolutionSizesFollowStridePaddingAndDilation() throws {
        let shape = try lastShape((193, 257)) { graph, x in
            graph.add("conv", .conv(ConvSpec(8, 5, kernel: 7, stride: 2, padding: 3)), x)
        }
        XCTAssertEqual(shape, map(5, 97, 129))
        let dilated = try lastShape((20, 21)) { graph, x in
            graph.add(
                "conv",
                .conv(ConvSpec(8, 4, kernel: Size2(3, 5), stride: Size2(2, 3), padding: Size2(0, 2), dilation: 2)), x)
        }
        // (20 - 5) / 2 + 1 and (21 + 4 - 9) / 3 + 1
        XCTAssertEqual(dilated, map(4, 8, 6))
    }

    func testCeilModeDropsWindowsThatStartInThePadding() throws {
        func pooled(_ h: Int, _ spec: PoolSpec) throws -> NodeShape {
            try lastShape((h, h)) { graph, x in graph.add("pool", .maxPool(spec), x) }
        }
        XCTAssertEqual(try pooled(112, PoolSpec(kernel: 3, stride: 2, ceilMode: true)), map(8, 56, 56))
        XCTAssertEqual(try pooled(112, PoolSpec(kernel: 3, stride: 2)), map(8, 55, 55))

        XCTAssertEqual(try pooled(9, PoolSpec(kernel: 1, stride: 2, padding: 0, ceilMode: true)), map(8, 5, 5))
        XCTAssertEqual(try pooled(4, PoolSpec(kernel: 2, stride: 3, padding: 1, ceilMode: true)), map(8, 2, 2))
    }

    func testHeadShapes() throws {
        let logits = try lastShape((5, 7)) { graph, x in
            let joined = graph.add("cat", .concat, x, x)
            let pooled = graph.add("avgpool", .globalAveragePool, joined)
            let flat = graph.add("flatten", .flatten, pooled)
            graph.add("fc", .linear(inFeatures: 16, outFeatures: 10, bias: true), flat)
        }
        XCTAssertEqual(logits, .vector(10))
    }

    func testMisfitsNameTheNode() {
        func reason(_ build: (inout Graph, Node) -> Void) -> String {
            do {
                _ = try lastShape((4, 4), build)
                return "no error"
            } catch { return "\(error)" }
        }
        XCTAssertTrue(
            reason { $0.add("c", .conv(ConvSpec(3, 4, kernel: 1)), $1) }.hasPrefix("c: expected 3 channels, found 8"))
        XCTAssertTrue(reason { $0.add("c", .conv(ConvSpec(8, 4, kernel: 7)), $1) }.contains("too small"))
        XCTAssertTrue(
            reason {
                let y = $0.add("c", .conv(ConvSpec(8, 8, kernel: 3)), $1)
                $0.add("sum", .add, y, $1)
            }.hasPrefix("sum: expected two equal shapes, found 8x2x2 and 8x4x4"))
        XCTAssertTrue(
            reason {
                let y = $0.add("flatten", .flatten, $1)
                $0.add("fc", .linear(inFeatures: 100, outFeatures: 2, bias: true), y)
            }.hasPrefix("fc: expected 100 features, found 128"))
    }
}
