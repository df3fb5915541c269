#include "emulator.h"

extern "C" emulator::Kernel polychron_emulated(const char *name) {
    for (const emulator::Entry *entry = emulator::Entry::all; entry; entry = entry->next) {
        if (!strcmp(entry->name, name)) return entry->kernel;
    }
    return nullptr;
}

// polychron_switch_stack(from, to): saves the callee-saved registers and the stack pointer in
// *from, and continues at to.
#if defined(__x86_64__)
__asm__(".text\n.globl polychron_switch_stack\n.type polychron_switch_stack,@function\n"
        "polychron_switch_stack:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nretq\n"
        ".size polychron_switch_stack,.-polychron_switch_stack\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl polychron_switch_stack\n.type polychron_switch_stack,%function\n"
        "polychron_switch_stack:\n"
        "sub sp,sp,#160\n"
        "stp x29,x30,[sp]\nstp x19,x20,[sp,#16]\nstp x21,x22,[sp,#32]\nstp x23,x24,[sp,#48]\n"
        "stp x25,x26,[sp,#64]\nstp x27,x28,[sp,#80]\nstp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\n"
        "stp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\n"
        "mov x9,sp\nstr x9,[x0]\nmov sp,x1\n"
        "ldp x29,x30,[sp]\nldp x19,x20,[sp,#16]\nldp x21,x22,[sp,#32]\nldp x23,x24,[sp,#48]\n"
        "ldp x25,x26,[sp,#64]\nldp x27,x28,[sp,#80]\nldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\n"
        "ldp d12,d13,[sp,#128]\nldp d14,d15,[sp,#144]\n"
        "add sp,sp,#160\nret\n"
        ".size polychron_switch_stack,.-polychron_switch_stack\n");
#endif
