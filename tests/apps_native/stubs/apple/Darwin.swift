// What a process may ask about its own memory.
public typealias mach_msg_type_number_t = UInt32
public typealias natural_t = UInt32
public typealias integer_t = Int32
public typealias task_flavor_t = UInt32
public typealias kern_return_t = Int32
public struct task_vm_info_data_t {
    public init() {}
    public var phys_footprint: UInt64 = 0
}
public let TASK_VM_INFO: Int32 = 22
public let KERN_SUCCESS: Int32 = 0
public var mach_task_self_: UInt32 { 0 }
public func task_info(
    _ task: UInt32, _ flavor: task_flavor_t, _ info: UnsafeMutablePointer<integer_t>!,
    _ count: UnsafeMutablePointer<mach_msg_type_number_t>!
) -> kern_return_t { 0 }
