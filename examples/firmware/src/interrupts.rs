/// No device interrupt is used, so the vector table may be as short as it can.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
pub static __INTERRUPTS: [usize; 1] = [0];
