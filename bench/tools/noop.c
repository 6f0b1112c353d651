/* The cheapest command there is: no libc, exits with 0 at once. It shows a runner's own cost. */

_Noreturn void _start(void);

void _start(void)
{
#if defined(__x86_64__)
	__asm__ volatile("mov $60, %eax\n\txor %edi, %edi\n\tsyscall");
#elif defined(__aarch64__)
	__asm__ volatile("mov x8, #93\n\tmov x0, #0\n\tsvc #0");
#elif defined(__riscv)
	__asm__ volatile("li a7, 93\n\tli a0, 0\n\tecall");
#else
#error "write exit(0) for this processor here"
#endif
	__builtin_unreachable();
}
