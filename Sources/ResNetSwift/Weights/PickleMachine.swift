// A pickle reader that executes nothing: a closed list of opcodes, a closed list of globals, bounds on everything.
//
// A pickle is a program for a stack machine (Python's Lib/pickletools.py documents each opcode). Weight files need few of
// them: they build dicts of tensors, where a tensor is `_rebuild_tensor_v2(storage, offset, size, stride, ...)` and a
// storage is a persistent id that the container resolves.

/// Reads pickles that lie one after another in the same bytes, into one heap.
package struct PickleMachine {
    /// Turns a persistent id into a value: a storage, or in the oldest format a tensor.
    package typealias PersistentLoad = (PickleValue, inout PickleHeap) throws(WeightFault) -> PickleValue

    private(set) var cursor: ByteCursor
    package var heap = PickleHeap()
    private let persistentLoad: PersistentLoad
    private var stack: [PickleValue] = []
    /// Heights of the stack where a MARK was set.
    private var marks: [Int] = []
    /// Writers number the slots from 0 on.
    private var memo: [PickleValue?] = []
    private var stepsLeft = Self.maximumSteps
    /// Python 2's pickles of NumPy arrays are read too, where a long string is bytes; weight files have none.
    private let readsArrays: Bool

    static let maximumSteps = 1_000_000
    static let maximumStack = 200_000
    static let maximumMemo = 150_000
    /// Slots that may be left out: without a bound, two bytes could ask for a long memo again and again.
    static let maximumMemoGap = 256
    static let maximumMarks = 1_000
    static let maximumText = 1 << 20

    package init(
        _ cursor: ByteCursor, readsArrays: Bool = false,
        persistentLoad: @escaping PersistentLoad = { (_, _) throws(WeightFault) in
            throw .malformed(part: "pickle", problem: "a persistent id where none belongs")
        }
    ) {
        self.cursor = cursor
        self.readsArrays = readsArrays
        self.persistentLoad = persistentLoad
    }

    func fault(_ problem: String) -> WeightFault {
        .malformed(part: cursor.part, problem: "\(problem) at byte \(cursor.offset)")
    }

    /// Moves past bytes that are no pickle, between two of them.
    mutating func skip(_ count: Int) throws(WeightFault) { _ = try cursor.take(count) }

    mutating func takeInteger<T: FixedWidthInteger>(_ type: T.Type) throws(WeightFault) -> T { try cursor.take(type) }

    /// Runs one pickle to its STOP and returns what it left.
    package mutating func load() throws(WeightFault) -> PickleValue {
        stack.removeAll(keepingCapacity: true)
        marks.removeAll(keepingCapacity: true)
        memo.removeAll(keepingCapacity: true)
        while true {
            guard stepsLeft > 0 else { throw .exceedsLimit("a pickle of more than \(Self.maximumSteps) steps") }
            stepsLeft -= 1
            let code = try cursor.take(UInt8.self)
            guard let opcode = Opcode(rawValue: code) else {
                let name = opcodeNames[code].map { "\($0) " } ?? ""
                throw .forbiddenPickle(
                    "\(cursor.part) uses opcode \(name)0x\(String(code, radix: 16)) at byte \(cursor.offset - 1)")
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

    private enum Opcode: UInt8 {
        case mark = 0x28
        case stop = 0x2e
        case none = 0x4e
        case newTrue = 0x88
        case newFalse = 0x89
        case binInt = 0x4a
        case binInt1 = 0x4b
        case binInt2 = 0x4d
        case long1 = 0x8a
        case binFloat = 0x47
        case binUnicode = 0x58
        case binString = 0x54
        case shortBinString = 0x55
        case emptyTuple = 0x29
        case emptyList = 0x5d
        case emptyDict = 0x7d
        case emptySet = 0x8f
        case tuple = 0x74
        case tuple1 = 0x85
        case tuple2 = 0x86
        case tuple3 = 0x87
        case append = 0x61
        case appends = 0x65
        case setItem = 0x73
        case setItems = 0x75
        case binPut = 0x71
        case longBinPut = 0x72
        case binGet = 0x68
        case longBinGet = 0x6a
        case global = 0x63
        case reduce = 0x52
        case newObj = 0x81
        case build = 0x62
        case binPersId = 0x51
        case proto = 0x80
    }

    private mutating func execute(_ opcode: Opcode) throws(WeightFault) {
        switch opcode {
        case .proto:
            let version = try cursor.take(UInt8.self)
            guard (2...5).contains(version) else { throw .unsupported("\(cursor.part) has pickle protocol \(version)") }
        case .stop: break
        case .mark:
            guard marks.count < Self.maximumMarks else {
                throw .exceedsLimit("\(cursor.part) nests more than \(Self.maximumMarks) marks")
            }
            marks.append(stack.count)
        case .none: try push(.none)
        case .newTrue: try push(.bool(true))
        case .newFalse: try push(.bool(false))
        case .binInt: try push(.integer(Int(try cursor.take(Int32.self))))
        case .binInt1: try push(.integer(Int(try cursor.take(UInt8.self))))
        case .binInt2: try push(.integer(Int(try cursor.take(UInt16.self))))
        case .long1: try push(try long(Int(try cursor.take(UInt8.self))))
        case .binFloat: try push(.float(Double(bitPattern: try cursor.take(UInt64.self).byteSwapped)))
        case .binUnicode:
            let length = Int(try cursor.take(UInt32.self))
            try push(.string(try text(length)))
        case .binString:
            let length = Int(try cursor.take(Int32.self))
            try push(readsArrays ? try bytes(length) : .string(try text(length)))
        case .shortBinString: try push(.string(try text(Int(try cursor.take(UInt8.self)))))
        case .emptyTuple: try push(try heap.make(.tuple))
        case .emptyList: try push(try heap.make(.list))
        case .emptyDict: try push(try heap.make(.dict))
        case .emptySet: try push(try heap.make(.set))
        case .tuple: try push(try heap.make(.tuple, try popToMark()))
        case .tuple1: try push(try heap.make(.tuple, try pop(1)))
        case .tuple2: try push(try heap.make(.tuple, try pop(2)))
        case .tuple3: try push(try heap.make(.tuple, try pop(3)))
        case .append: try append(try pop(1))
        case .appends: try append(try popToMark())
        case .setItem: try setItems(try pop(2))
        case .setItems: try setItems(try popToMark())
        case .binPut: try put(Int(try cursor.take(UInt8.self)))
        case .longBinPut: try put(Int(try cursor.take(UInt32.self)))
        case .binGet: try get(Int(try cursor.take(UInt8.self)))
        case .longBinGet: try get(Int(try cursor.take(UInt32.self)))
        case .global: try push(.global(try global()))
        case .reduce:
            let arguments = try pop()
            try push(try heap.reduce(try pop(), arguments, part: cursor.part))
        case .newObj:
            let arguments = try pop()
            try push(try heap.newObject(try pop(), arguments, part: cursor.part))
        case .build:
            let state = try pop()
            guard let target = stack.last else { throw fault("the stack is empty") }
            try heap.build(target, state, part: cursor.part)
        case .binPersId:
            let identifier = try pop()
            try push(try persistentLoad(identifier, &heap))
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

    // MARK: - Containers

    private func top(_ kinds: [PickleObject.Kind], _ what: String) throws(WeightFault) -> Int {
        guard stack.count > marks.last ?? 0, case .object(let index)? = stack.last, kinds.contains(heap[index].kind)
        else {
            throw fault("\(what) is expected on the stack")
        }
        return index
    }

    private mutating func append(_ values: [PickleValue]) throws(WeightFault) {
        heap.append(values, to: try top([.list], "a list"))
    }

    private mutating func setItems(_ values: [PickleValue]) throws(WeightFault) {
        guard values.count.isMultiple(of: 2) else { throw fault("a key without a value") }
        heap.append(values, to: try top([.dict, .orderedDict], "a dict"))
    }

    // MARK: - Memo

    private mutating func put(_ slot: Int) throws(WeightFault) {
        guard let value = stack.last else { throw fault("the stack is empty") }
        guard slot < Self.maximumMemo, slot <= memo.count + Self.maximumMemoGap else {
            throw .exceedsLimit("\(cursor.part) uses memo \(slot) after \(memo.count); writers count up from 0")
        }
        if slot >= memo.count { memo.append(contentsOf: repeatElement(nil, count: slot + 1 - memo.count)) }
        memo[slot] = value
    }

    private mutating func get(_ slot: Int) throws(WeightFault) {
        guard slot < memo.count, let value = memo[slot] else { throw fault("memo \(slot) was never set") }
        try push(value)
    }

    // MARK: - Immediate values

    private mutating func text(_ length: Int) throws(WeightFault) -> String {
        guard length <= Self.maximumText else {
            throw .exceedsLimit("\(cursor.part) has a string of \(length) bytes; at most \(Self.maximumText) are read")
        }
        return try cursor.takeText(length)
    }

    private mutating func bytes(_ length: Int) throws(WeightFault) -> PickleValue {
        let start = cursor.offset
        _ = try cursor.take(length)
        return .bytes(start..<start + length)
    }

    private mutating func long(_ length: Int) throws(WeightFault) -> PickleValue {
        let bytes = try cursor.take(length)
        guard length <= 8 else { return .long(Array(bytes)) }
        let negative = bytes.last.map { $0 & 0x80 != 0 } ?? false
        var value: UInt64 = negative ? .max : 0
        for byte in bytes.reversed() { value = value << 8 | UInt64(byte) }
        return .integer(Int(Int64(bitPattern: value)))
    }

    /// `module\nname\n`, looked up in the closed list.
    private mutating func global() throws(WeightFault) -> PickleGlobal {
        let name = "\(try line()).\(try line())"
        guard let known = PickleGlobal(rawValue: name), readsArrays || !known.isOfArrays else {
            throw .forbiddenPickle(
                "\(cursor.part) names \(name), which is not among the few that tensors need; "
                    + "if this is a whole pickled model, save its state_dict() instead")
        }
        return known
    }

    private mutating func line() throws(WeightFault) -> String {
        let rest = cursor.bytes[cursor.offset...]
        guard let end = rest.prefix(512).firstIndex(of: 0x0a) else {
            throw cursor.remaining > 512
                ? fault("a global's name of more than 512 bytes")
                : .truncated(part: cursor.part, needed: cursor.remaining + 1, available: cursor.remaining)
        }
        let name = try cursor.takeText(end - cursor.offset)
        _ = try cursor.take(1)
        return name
    }
}

/// Names of opcodes outside the closed list, for the error.
private let opcodeNames: [UInt8: String] = [
    0x30: "POP", 0x31: "POP_MARK", 0x32: "DUP", 0x42: "BINBYTES", 0x43: "SHORT_BINBYTES", 0x46: "FLOAT", 0x49: "INT",
    0x4c: "LONG", 0x50: "PERSID", 0x53: "STRING", 0x56: "UNICODE", 0x64: "DICT", 0x67: "GET", 0x69: "INST",
    0x6c: "LIST", 0x6f: "OBJ", 0x70: "PUT", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x8b: "LONG4",
    0x8c: "SHORT_BINUNICODE", 0x8d: "BINUNICODE8", 0x8e: "BINBYTES8", 0x90: "ADDITEMS", 0x91: "FROZENSET",
    0x92: "NEWOBJ_EX", 0x93: "STACK_GLOBAL", 0x94: "MEMOIZE", 0x95: "FRAME", 0x96: "BYTEARRAY8",
]
