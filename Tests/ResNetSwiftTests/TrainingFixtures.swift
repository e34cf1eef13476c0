// Tests/Fixtures/training, written by scripts/make_training_fixtures.py: data set files by NumPy, and what PyTorch and
// scikit-learn make of schedules, class weights and scores.

import Foundation
import ResNetSwift

enum TrainingFixtures {
    static func path(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures/training/\(name)").path
    }

    static func json<T: Decodable>(_ name: String) throws -> T {
        try JSONDecoder().decode(T.self, from: Data(contentsOf: URL(fileURLWithPath: path(name))))
    }
}
