// A pickle reader that executes nothing. It knows all opcodes of protocols 0 to 5 but those of copyreg's extension registry;
// calls build data of known meaning or inert placeholders; everything is bounded.
//
// A pickle is a program for a stack machine (Python's Lib/pickletools.py documents each opcode). Weight files build dicts
// of tensors, where a tensor is `_rebuild_tensor_v2(storage, offset, size, stride, ...)` and a storage is a persistent id
// that the container resolves.

import ResNetSupport

/// Reads pickles that lie one after another in the same bytes, into one heap.
package struct PickleMachine {
    /// Turns a persistent id into a value: a storage, or in the oldest format a tensor.
    package typealias PersistentLoad = (PickleValue, inout PickleHeap) throws(WeightFault) -> PickleValue

    var cursor: ByteCursor
    package var heap = PickleHeap()
    private let persistentLoad: PersistentLoad
    private var stack: [PickleValue] = []
    /// Heights of the stack where a MARK was set.
    private var marks: [Int] = []
    /// Writers number the slots from 0 on.
    private var memo: [PickleValue?] = []
    /// Slots that are set; MEMOIZE takes this for the next one.
    private var memoized = 0
    private var stepsLeft = Self.maximumSteps

    static let maximumSteps = 4_000_000
    static let maximumStack = 1_000_000
    static let maximumMemo = 1_000_000
    /// Slots that may be left out: without a bound, two bytes could ask for a long memo again and again.
    static let maximumMemoGap = 256
    static let maximumMarks = 1_000
    /// Longer texts stay where they are: no key and no fact is as long.
    static let maximumText = 4096
    /// Python 2 has one type for text and bytes. Short strings are text where they can be.
    static let maximumOldText = 256
    /// Bytes of all texts together.
    private var textLeft = 64 << 20

    package init(
        _ cursor: ByteCursor,
        persistentLoad: @escaping PersistentLoad = { (_, _) throws(WeightFault) in
            throw .malformed(part: "pickle", problem: "a persistent id where none belongs")
        }
    ) {
        self.cursor = cursor
        self.persistentLoad = persistentLoad
    }

    func fault(_ problem: String) -> WeightFault {
        .malformed(part: cursor.part, problem: "\(problem) at byte \(cursor.offset)")
    }

    /// Moves past bytes that are no pickle, between two of them.
    mutating func skip(_ count: Int) throws(WeightFault) { _ = try cursor.take(count) }

    /// Counts text that is going to be copied out of the pickle.
    mutating func charge(text count: Int) throws(WeightFault) {
        guard count <= textLeft else { throw .exceedsLimit("\(cursor.part) has more than 64 MiB of text") }
        textLeft -= count
    }

    mutating func takeInteger<T: FixedWidthInteger>(_ type: T.Type) throws(WeightFault) -> T { try cursor.take(type) }

    /// Runs one pickle to its STOP and returns what it left.
    package mutating func load() throws(WeightFault) -> PickleValue {
        stack.removeAll(keepingCapacity: true)
        marks.removeAll(keepingCapacity: true)
        memo.removeAll(keepingCapacity: true)
        memoized = 0
        while true {
            guard stepsLeft > 0 else { throw .exceedsLimit("a pickle of more than \(Self.maximumSteps) steps") }
            stepsLeft -= 1
            let code = try cursor.take(UInt8.self)
            guard let opcode = PickleOpcode(rawValue: code) else {
                throw .malformed(
                    part: cursor.part, problem: "opcode 0x\(String(code, radix: 16)) at byte \(cursor.offset - 1)")
            }
            if opcode == .stop {
                let result = try pop()
                guard stack.isEmpty, marks.isEmpty else { throw fault("STOP with values left on the stack") }
                return result
            }
            try execute(opcode)
        }
    }

    /// Checks that nothing follows the last pickle.
    package func finish() throws(WeightFault) {
        guard cursor.remaining == 0 else { throw fault("\(cursor.remaining) bytes more than its pickles take") }
    }

    private mutating func execute(_ opcode: PickleOpcode) throws(WeightFault) {
        switch opcode {
        case .proto:
            let version = try cursor.take(UInt8.self)
            guard version <= 5 else { throw .unsupported("\(cursor.part) has pickle protocol \(version)") }
        case .frame:
            let size = try cursor.take(UInt64.self)
            guard size <= UInt64(cursor.remaining) else {
                throw .truncated(
                    part: cursor.part, needed: Int(clamping: size), available: cursor.remaining)
            }
        case .stop, .readOnlyBuffer: break
        case .extension1, .extension2, .extension4:
            throw .forbiddenPickle("\(cursor.part) uses copyreg's extension registry at byte \(cursor.offset - 1)")
        case .binaryPersistentId, .persistentId:
            let identifier = opcode == .persistentId ? .string(try line()) : try pop()
            try push(try persistentLoad(identifier, &heap))
        case .mark, .pop, .popMark, .duplicate, .put, .binaryPut, .longBinaryPut, .memoize, .get, .binaryGet,
            .longBinaryGet:
            try move(opcode)
        case .global, .stackGlobal, .reduce, .newObject, .newObjectWithKeywords, .object, .instance, .build:
            try call(opcode)
        case .emptyTuple, .emptyList, .emptyDict, .emptySet, .tuple, .tuple1, .tuple2, .tuple3, .list, .dict,
            .frozenSet, .append, .appends, .setItem, .setItems, .addItems:
            try collect(opcode)
        default: try push(try literal(opcode))
        }
    }

    /// The stack and the memo.
    private mutating func move(_ opcode: PickleOpcode) throws(WeightFault) {
        switch opcode {
        case .mark:
            guard marks.count < Self.maximumMarks else {
                throw .exceedsLimit("\(cursor.part) nests more than \(Self.maximumMarks) marks")
            }
            marks.append(stack.count)
        case .pop: if stack.count == marks.last { marks.removeLast() } else { _ = try pop() }
        case .popMark: _ = try popToMark()
        case .duplicate:
            guard stack.count > marks.last ?? 0, let value = stack.last else { throw fault("the stack is empty") }
            try push(value)
        case .binaryPut: try put(Int(try cursor.take(UInt8.self)))
        case .longBinaryPut: try put(Int(try cursor.take(UInt32.self)))
        case .put: try put(try number(of: try line()))
        case .memoize: try put(memoized)
        case .binaryGet: try get(Int(try cursor.take(UInt8.self)))
        case .longBinaryGet: try get(Int(try cursor.take(UInt32.self)))
        default: try get(try number(of: try line()))
        }
    }

    /// What Python would import, call and fill: here, data.
    private mutating func call(_ opcode: PickleOpcode) throws(WeightFault) {
        switch opcode {
        case .global: try push(try heap.makeGlobal("\(try line()).\(try line())"))
        case .stackGlobal:
            let names = try pop(2)
            guard case .string(let module) = names[0], case .string(let name) = names[1] else {
                throw fault("STACK_GLOBAL of \(heap.noun(names[0])) and \(heap.noun(names[1]))")
            }
            try push(try heap.makeGlobal("\(module).\(name)"))
        case .reduce:
            let arguments = try pop()
            try push(try heap.reduce(try pop(), arguments, part: cursor.part))
        case .newObject:
            let arguments = try pop()
            try push(try heap.newObject(try pop(), arguments, part: cursor.part))
        case .newObjectWithKeywords:
            _ = try pop()
            let arguments = try pop()
            try push(try heap.newObject(try pop(), arguments, part: cursor.part))
        case .object:
            let values = try popToMark()
            guard let type = values.first else { throw fault("OBJ without a class") }
            let arguments = try heap.make(.tuple, Array(values.dropFirst()))
            try push(try heap.newObject(type, arguments, part: cursor.part))
        case .instance:
            let type = try heap.makeGlobal("\(try line()).\(try line())")
            let arguments = try heap.make(.tuple, try popToMark())
            try push(try heap.newObject(type, arguments, part: cursor.part))
        default:
            let state = try pop()
            guard stack.count > marks.last ?? 0, let target = stack.last else { throw fault("the stack is empty") }
            try heap.build(target, state, part: cursor.part)
        }
    }

    /// Tuples, lists, dicts and sets.
    private mutating func collect(_ opcode: PickleOpcode) throws(WeightFault) {
        switch opcode {
        case .emptyTuple: try push(try heap.make(.tuple))
        case .emptyList: try push(try heap.make(.list))
        case .emptyDict: try push(try heap.make(.dict))
        case .emptySet: try push(try heap.make(.set))
        case .tuple: try push(try heap.make(.tuple, try popToMark()))
        case .tuple1: try push(try heap.make(.tuple, try pop(1)))
        case .tuple2: try push(try heap.make(.tuple, try pop(2)))
        case .tuple3: try push(try heap.make(.tuple, try pop(3)))
        case .list: try push(try heap.make(.list, try popToMark()))
        case .frozenSet: try push(try heap.make(.set, try popToMark()))
        case .dict:
            let values = try popToMark()
            guard values.count.isMultiple(of: 2) else { throw fault("a key without a value") }
            try push(try heap.make(.dict, values))
        case .append:
            let values = try pop(1)
            try heap.append(values, to: try top([.list, .instance], "a list"))
        case .appends:
            let values = try popToMark()
            try heap.append(values, to: try top([.list, .instance], "a list"))
        case .addItems:
            let values = try popToMark()
            try heap.append(values, to: try top([.set, .instance], "a set"))
        default:
            let values = opcode == .setItem ? try pop(2) : try popToMark()
            guard values.count.isMultiple(of: 2) else { throw fault("a key without a value") }
            try heap.setPairs(values, of: try top([.dict, .instance], "a dict"))
        }
    }

    // MARK: - Stack

    private mutating func push(_ value: PickleValue) throws(WeightFault) {
        guard stack.count < Self.maximumStack else {
            throw .exceedsLimit("\(cursor.part) stacks more than \(Self.maximumStack) values")
        }
        stack.append(value)
    }

    private mutating func pop() throws(WeightFault) -> PickleValue {
        guard stack.count > marks.last ?? 0, let value = stack.popLast() else { throw fault("the stack is empty") }
        return value
    }

    // Both copy the few values at the top: a slice would make the removal copy the whole stack.

    private mutating func pop(_ count: Int) throws(WeightFault) -> [PickleValue] {
        guard stack.count - (marks.last ?? 0) >= count else { throw fault("the stack is empty") }
        let values = Array(stack[(stack.count - count)...])
        stack.removeLast(count)
        return values
    }

    private mutating func popToMark() throws(WeightFault) -> [PickleValue] {
        guard let mark = marks.popLast() else { throw fault("no MARK is set") }
        let values = Array(stack[mark...])
        stack.removeLast(values.count)
        return values
    }

    private func top(_ kinds: [PickleObject.Kind], _ what: String) throws(WeightFault) -> Int {
        guard stack.count > marks.last ?? 0, case .object(let index)? = stack.last, kinds.contains(heap[index].kind)
        else {
            throw fault("\(what) is expected on the stack")
        }
        return index
    }

    // MARK: - Memo

    private mutating func put(_ slot: Int) throws(WeightFault) {
        guard let value = stack.last else { throw fault("the stack is empty") }
        guard 0..<Self.maximumMemo ~= slot, slot <= memo.count + Self.maximumMemoGap else {
            throw .exceedsLimit("\(cursor.part) uses memo \(slot) after \(memo.count); writers count up from 0")
        }
        if slot >= memo.count { memo.append(contentsOf: repeatElement(nil, count: slot + 1 - memo.count)) }
        if memo[slot] == nil { memoized += 1 }
        memo[slot] = value
    }

    private mutating func get(_ slot: Int) throws(WeightFault) {
        guard memo.indices.contains(slot), let value = memo[slot] else { throw fault("memo \(slot) was never set") }
        try push(value)
    }

    private func number(of text: String) throws(WeightFault) -> Int {
        guard let number = Int(text) else { throw fault("'\(text)' in place of a number") }
        return number
    }
}

/// Python's opcodes, by their byte.
enum PickleOpcode: UInt8 {
    case proto = 0x80
    case frame = 0x95
    case stop = 0x2e
    // The stack and the memo.
    case mark = 0x28
    case pop = 0x30
    case popMark = 0x31
    case duplicate = 0x32
    case put = 0x70
    case binaryPut = 0x71
    case longBinaryPut = 0x72
    case memoize = 0x94
    case get = 0x67
    case binaryGet = 0x68
    case longBinaryGet = 0x6a
    // Values.
    case none = 0x4e
    case newTrue = 0x88
    case newFalse = 0x89
    case integer = 0x49
    case binaryInteger = 0x4a
    case binaryInteger1 = 0x4b
    case binaryInteger2 = 0x4d
    case long = 0x4c
    case long1 = 0x8a
    case long4 = 0x8b
    case float = 0x46
    case binaryFloat = 0x47
    case unicode = 0x56
    case shortBinaryUnicode = 0x8c
    case binaryUnicode = 0x58
    case binaryUnicode8 = 0x8d
    case string = 0x53
    case binaryString = 0x54
    case shortBinaryString = 0x55
    case shortBinaryBytes = 0x43
    case binaryBytes = 0x42
    case binaryBytes8 = 0x8e
    case byteArray8 = 0x96
    case nextBuffer = 0x97
    case readOnlyBuffer = 0x98
    // Collections.
    case emptyTuple = 0x29
    case emptyList = 0x5d
    case emptyDict = 0x7d
    case emptySet = 0x8f
    case tuple = 0x74
    case tuple1 = 0x85
    case tuple2 = 0x86
    case tuple3 = 0x87
    case list = 0x6c
    case dict = 0x64
    case frozenSet = 0x91
    case append = 0x61
    case appends = 0x65
    case setItem = 0x73
    case setItems = 0x75
    case addItems = 0x90
    // Classes and calls.
    case global = 0x63
    case stackGlobal = 0x93
    case reduce = 0x52
    case newObject = 0x81
    case newObjectWithKeywords = 0x92
    case object = 0x6f
    case instance = 0x69
    case build = 0x62
    case persistentId = 0x50
    case binaryPersistentId = 0x51
    case extension1 = 0x82
    case extension2 = 0x83
    case extension4 = 0x84
}
