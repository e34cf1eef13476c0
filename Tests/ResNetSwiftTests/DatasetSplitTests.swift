// Splits, orders, class weights.

import ResNetSwift
import XCTest

@testable import ResNetData

final class DatasetSplitTests: XCTestCase {
    private func dataset(classes labels: [Int]) -> Dataset {
        Dataset(
            classNames: (0...(labels.max() ?? 0)).map(String.init), labels: .classes(labels),
            source: .files(labels.indices.map { "\($0).png" }))
    }

    private func dataset(labels: [[Int]], count: Int) -> Dataset {
        Dataset(
            classNames: (0..<count).map(String.init), labels: .multiLabel(labels),
            source: .files(labels.indices.map { "\($0).png" }))
    }

    func testSplitIsExactSeededAndStratified() throws {
        // 100 of class 0, 50 of class 1, 7 of class 2, 1 of class 3, scattered.
        var labels: [Int] = []
        for (label, count) in [100, 50, 7, 1].enumerated() { labels += Array(repeating: label, count: count) }
        var random = SampleRandom(seed: 5)
        labels = random.permutation(labels.count).map { labels[$0] }
        let data = dataset(classes: labels)
        let split = try data.split(validation: 0.2, seed: 1)
        XCTAssertEqual(split.validation.count, 32)  // round(158 * 0.2)
        XCTAssertEqual(split.validation.classCounts, [20, 10, 2, 0])  // 1.4 has the largest remainder that can give
        XCTAssertEqual(
            (split.training.samples + split.validation.samples).sorted(), Array(0..<158), "every sample is in one part")
        XCTAssertEqual(split.training.samples, split.training.samples.sorted())
        XCTAssertEqual(try data.split(validation: 0.2, seed: 1).validation.samples, split.validation.samples)
        XCTAssertNotEqual(try data.split(validation: 0.2, seed: 2).validation.samples, split.validation.samples)
    }

    func testSplitOfNothingAndBadFractions() throws {
        let data = dataset(classes: [0, 1, 0, 1])
        XCTAssertEqual(try data.split(validation: 0, seed: 1).validation.count, 0)
        XCTAssertThrowsError(try data.split(validation: 1, seed: 1))
        XCTAssertThrowsError(try data.split(validation: -0.1, seed: 1))
        XCTAssertThrowsError(try data.split(validation: .nan, seed: 1))
        // Classes of one sample each: all train.
        XCTAssertEqual(try dataset(classes: [0, 1, 2]).split(validation: 0.5, seed: 1).validation.count, 0)
    }

    func testSplitOfSeveralLabelsKeepsProportions() throws {
        // Label l is on every (l + 2)th sample, label 5 on 4 samples of 600.
        let labels = (0..<600).map { sample in
            (0..<5).filter { sample % ($0 + 2) == 0 } + (sample % 150 == 7 ? [5] : [])
        }
        let data = dataset(labels: labels, count: 6)
        let split = try data.split(validation: 0.25, seed: 3)
        XCTAssertEqual(
            (split.training.samples + split.validation.samples).sorted(), Array(0..<600), "every sample is in one part")
        XCTAssertEqual(Double(split.validation.count), 150, accuracy: 6)
        for (all, held) in zip(data.all.classCounts, split.validation.classCounts) {
            XCTAssertEqual(Double(held), Double(all) / 4, accuracy: 1.01)
        }
        XCTAssertEqual(split.validation.classCounts[5], 1)
        XCTAssertEqual(try data.split(validation: 0.25, seed: 3).validation.samples, split.validation.samples)
        XCTAssertNotEqual(try data.split(validation: 0.25, seed: 4).validation.samples, split.validation.samples)
    }

    func testOrdersAreFunctionsOfSeedAndEpoch() {
        let order = SampleOrder.shuffled
        let first = order.positions(count: 50, epoch: 0, seed: 1)
        XCTAssertEqual(first.sorted(), Array(0..<50))
        XCTAssertEqual(order.positions(count: 50, epoch: 0, seed: 1), first)
        XCTAssertNotEqual(order.positions(count: 50, epoch: 1, seed: 1), first)
        XCTAssertNotEqual(order.positions(count: 50, epoch: 0, seed: 2), first)
        XCTAssertEqual(SampleOrder.sequential.positions(count: 3, epoch: 9, seed: 9), [0, 1, 2])
    }

    func testWeightedOrderDrawsInProportion() {
        let weights = [0.0, 1, 3, 0, 4, 0]
        var counts = [Int](repeating: 0, count: 6)
        for epoch in 0..<4000 {
            for position in SampleOrder.weighted(weights).positions(count: 6, epoch: epoch, seed: 2) {
                counts[position] += 1
            }
        }
        XCTAssertEqual([counts[0], counts[3], counts[5]], [0, 0, 0])
        // 24000 draws; five standard deviations are below 400.
        for (count, weight) in zip(counts, weights) {
            XCTAssertEqual(Double(count), 24000 * weight / 8, accuracy: 400)
        }
    }

    func testWeightsAgainstScikitLearn() throws {
        struct Pinned: Decodable {
            let labels: [Int]
            let weights: [Float]
        }
        let pinned: Pinned = try TrainingFixtures.json("class_weights.json")
        let data = dataset(classes: pinned.labels)
        for (ours, theirs) in zip(data.all.balancedClassWeights, pinned.weights) {
            XCTAssertEqual(ours, theirs, accuracy: theirs * 1e-6)
        }
        XCTAssertEqual(data.all.balancedClassWeights.count, pinned.weights.count)
        // From the split alone: the same samples elsewhere count nothing.
        let part = DatasetSlice(dataset: dataset(classes: [0, 0, 0, 1, 1, 1, 1]), samples: [0, 1, 3])
        XCTAssertEqual(part.balancedClassWeights, [0.75, 1.5])
        XCTAssertEqual(part.balancedSampleWeights, [0.5, 0.5, 1])
        let several = dataset(labels: [[0], [0, 1], [], [0]], count: 3).all
        XCTAssertEqual(several.balancedPositiveWeights, [1 / 3, 3, 1])
        XCTAssertEqual(several.balancedSampleWeights, [1 / 3, 1, 0.25, 1 / 3])
    }
}
