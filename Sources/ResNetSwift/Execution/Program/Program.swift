// What a plan runs: steps over values, after fusion and before memory. Pure data, for inference and training alike.
//
//     inference  [conv1 + bn1 + relu + maxpool] -> [conv2 ...] -> ... -> [to output]
//     training   [conv1] [sums bn1] -> finish bn1 -> [apply bn1, relu] [conv2] ... loss ... [dw conv2] [dx conv2] ...
//
// Setup steps are done once, when the plan is made: what they write are its constants.

import ResNetGraph

/// One pass through memory: an operation and what it works on.
struct Step: Sendable {
    let operation: any StepOperation
    /// Those served, in the order they apply; empty for what copies to an output.
    let nodes: [Int]
    /// Values read, in the operation's order.
    let inputs: [Int]
    /// Written completely; nobody has written them before.
    let outputs: [Int]
    /// Read and changed.
    var updates: [Int] = []
    var isBackward = false
    /// Of the parameters that every chunk of images reads again.
    var weightBytes = 0

    var touched: [Int] { inputs + outputs + updates }
}

/// A node whose value the caller gets.
struct OutputPort: Sendable {
    let name: String
    let shape: NodeShape
    /// In the caller's memory.
    var value: Int
}

struct Program: Sendable {
    var values: [Value] = []
    var setup: [Step] = []
    var steps: [Step] = []
    var ports: [OutputPort] = []
    /// Nodes whose values a frozen part hands over, by `ValueHome.boundary`.
    var boundary: [Int] = []
    private var parameterOf: [String: Int] = [:]
    private var gradientOf: [String: Int] = [:]

    /// The value that owns the bytes of `value`.
    func base(_ value: Int) -> Int {
        var value = value
        while let next = values[value].viewOf { value = next }
        return value
    }

    mutating func add(_ value: Value) -> Int {
        values.append(value)
        return values.count - 1
    }

    /// Appends a step, with the constants that its operation needs for its result.
    mutating func append(_ step: Step, block: Int) {
        let constants = step.outputs.first.map { step.operation.constants(for: values[$0], block: block) } ?? []
        var inputs = step.inputs
        for contents in constants { inputs.append(constant(contents, "constants")) }
        steps.append(
            Step(
                operation: step.operation, nodes: step.nodes, inputs: inputs, outputs: step.outputs,
                updates: step.updates, isBackward: step.isBackward, weightBytes: step.weightBytes))
    }

    // MARK: - Values that are not activations

    /// A parameter or a statistic of the model.
    mutating func parameter(_ spec: ParameterSpec) -> Int {
        if let known = parameterOf[spec.name] { return known }
        let value = add(flat(spec.name, spec.count, .parameter(spec.name)))
        parameterOf[spec.name] = value
        return value
    }

    mutating func gradient(of spec: ParameterSpec) -> Int {
        if let known = gradientOf[spec.name] { return known }
        let value = add(flat(spec.name, spec.count, .gradient(spec.name)))
        gradientOf[spec.name] = value
        return value
    }

    /// Room in the plan's constants; without a count as much as the step that reads it says.
    mutating func constant(_ name: String, count: Int?, _ element: ValueElement = .float32) -> Int {
        var value = flat(name, count, .constant)
        value.element = element
        return add(value)
    }

    /// Constants of known contents.
    mutating func constant(_ contents: [Float], _ name: String) -> Int {
        let value = constant(name, count: contents.count)
        setup.append(Step(operation: FillConstant(contents: contents), nodes: [], inputs: [], outputs: [value]))
        return value
    }

    private func flat(_ name: String, _ count: Int?, _ home: ValueHome) -> Value {
        Value(
            name: name, shape: ImageShape(channels: count ?? 0, height: 1, width: 1),
            storage: .whole(elements: count), home: home)
    }
}
