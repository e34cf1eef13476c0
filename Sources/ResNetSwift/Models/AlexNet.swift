// The small AlexNet of a glomerulus study: five convolutions with bias, 280x280 pictures, one sigmoid unit.
//
//     280 - 13x13/3 96 - 92 - pool - 45 - 5x5 256 - pool - 22 - 3x3 384 - 3x3 384 - 3x3 256 - pool - 11
//         - flatten 30976 - 128 - 128 - 1
//
// After Krizhevsky et al., 2012. Keras writes the first padding as a layer of its own; here it is the convolution's.

import ResNetGraph

/// A small AlexNet after a known write-up: 7,742,721 parameters for one class on 280x280.
public enum AlexNetMini {
    /// The network.
    /// - Parameters:
    ///   - classes: width of the logits.
    ///   - inputChannels: of the pictures.
    ///   - inputSize: of the pictures; the first linear layer depends on it.
    ///   - sigmoid: ends in a sigmoid of the logits, for one class or several independent ones.
    /// - Throws: `GraphError` when the pictures are too small; the first linear layer depends on their size.
    /// - Precondition: at least one class and one input channel.
    public static func graph(
        classes: Int = 1, inputChannels: Int = 3, inputSize: Size2 = 280, sigmoid: Bool = true
    ) throws(GraphError) -> Graph {
        precondition(classes > 0, "a classifier has at least one class, not \(classes)")
        var g = GraphBuilder("AlexNetMini")
        var x = g.input(channels: inputChannels)
        x = g.relu(g.conv(x, "conv1", 96, kernel: 13, stride: 3, padding: 3, bias: true), "relu1")
        x = g.maxPool(x, "pool1", kernel: 3, stride: 2)
        x = g.relu(g.conv(x, "conv2", 256, kernel: 5, padding: 2, bias: true), "relu2")
        x = g.maxPool(x, "pool2", kernel: 3, stride: 2)
        x = g.relu(g.conv(x, "conv3", 384, kernel: 3, padding: 1, bias: true), "relu3")
        x = g.relu(g.conv(x, "conv4", 384, kernel: 3, padding: 1, bias: true), "relu4")
        x = g.relu(g.conv(x, "conv5", 256, kernel: 3, padding: 1, bias: true), "relu5")
        x = g.maxPool(x, "pool5", kernel: 2, stride: 2)
        let flat = try g.graph.shapes(input: inputSize)[x.index].count
        x = g.flattenModule(x, "flatten")
        x = g.relu(g.linear(x, "fc1", 128, inFeatures: flat), "relu6")
        let h = g.relu(g.linear(x, "fc2", 128), "relu7")
        let logits = g.linear(h, "fc3", classes)
        return g.finish(
            logits: logits, features: h, probabilities: sigmoid ? g.sigmoid(logits, "sigmoid") : nil)
    }
}
