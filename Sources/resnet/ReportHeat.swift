// What the network looked at, for the pictures of report.html.

import ResNetSwift

extension EvaluationReport {
    /// Pictures get colors where the network can be explained; of others the report has none.
    mutating func explainPictures(by classifier: Classifier) {
        var explainers: [Size2: Explainer] = [:]
        heat = { picture, index in
            let size = Size2(picture.height, picture.width)
            guard let explainer = try? explainers[size] ?? Explainer(classifier, size: size) else { return nil }
            explainers[size] = explainer
            return try? explainer.explain(picture, class: index).heat
        }
    }
}
