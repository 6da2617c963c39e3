"""The default filter: what a container may ask of the kernel, with the reason for each group.

Written from the kernel's documents and manual pages to give the same verdicts as docker's default
profile (moby/profiles of May 2026), with one hole closed: see `_SOCKETS`. What is not listed fails
with EPERM, as an unprivileged caller would see it. Capabilities are those of the container.
"""

from .seccomp_profile import ALLOW, Argument, Condition, Profile, Rule, errno_result

_EPERM, _ENOSYS = 1, 38

# Files by name and by descriptor: decided by the mount namespace, permissions and capabilities.
_FILES = """
    open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv
    pwritev preadv2 pwritev2 lseek _llseek access faccessat faccessat2 stat lstat fstat newfstatat
    stat64 lstat64 fstat64 fstatat64 statx statfs fstatfs statfs64 fstatfs64 readlink readlinkat
    getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir link linkat symlink symlinkat unlink
    unlinkat rename renameat renameat2 mknod mknodat chmod fchmod fchmodat fchmodat2 chown lchown
    fchown fchownat chown32 lchown32 fchown32 umask utime utimes futimesat utimensat
    utimensat_time64 truncate ftruncate truncate64 ftruncate64 fallocate fadvise64 fadvise64_64
    readahead dup dup2 dup3 fcntl fcntl64 ioctl flock pipe pipe2 sendfile sendfile64 splice tee
    vmsplice copy_file_range sync syncfs fsync fdatasync sync_file_range cachestat
"""

# Extended attributes: as harmless as the file's own mode; trusted.* wants a capability.
_ATTRIBUTES = """
    getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr
    llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat
"""

# Handles may be made by anybody; opening one is what needs a capability (below). Listing mounts
# shows the container's own namespace.
_HANDLES_AND_MOUNTS = "name_to_handle_at statmount listmount"

# Memory of the process itself. Locked memory has a limit, sealing and secret memory only take away.
_MEMORY = """
    brk mmap mmap2 munmap mremap mprotect pkey_mprotect pkey_alloc pkey_free madvise mincore msync
    mlock mlock2 mlockall munlock munlockall remap_file_pages memfd_create memfd_secret mseal
    map_shadow_stack membarrier
"""

# Processes: making, running and ending them, inside the pid namespace. clone is looked at below.
_PROCESSES = """
    fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid
    getpgid getpgrp setpgid getsid setsid pidfd_open pidfd_send_signal process_mrelease prctl
    set_tid_address set_robust_list get_robust_list rseq restart_syscall set_thread_area
    get_thread_area uname sysinfo times getrusage getcpu seccomp uretprobe riscv_hwprobe
"""

# Signals reach no further than the pid namespace.
_SIGNALS = """
    kill tkill tgkill pause alarm sigaltstack sigprocmask sigreturn signalfd signalfd4 rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo
"""

# Identity: the kernel asks for CAP_SETUID, CAP_SETGID and CAP_SETPCAP itself.
_IDENTITY = """
    getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32
    getresgid getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32
    setregid setregid32 setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid
    setfsgid32 setgroups setgroups32 capget capset
"""

# Clocks and timers. Setting a clock needs CAP_SYS_TIME: adjtimex and clock_adjtime also only read.
_TIME = """
    time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 nanosleep
    clock_nanosleep clock_nanosleep_time64 adjtimex clock_adjtime clock_adjtime64 getitimer
    setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64
"""

# Waiting for events. fanotify_init, without which a mark marks nothing, needs a capability (below).
_WAITING = """
    poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2
    inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark futex futex_time64
    futex_wait futex_wake futex_requeue futex_waitv
"""

# Asynchronous input and output of the old kind; io_uring is left out on purpose: it does system
# calls no filter sees, and was the way through too often.
_AIO = """
    io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64
"""

# Sockets once they exist. `socket` itself is looked at below; socketcall hides its arguments behind
# a pointer, and 32-bit programs cannot do without it.
_NETWORK = """
    socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt
    setsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64
    socketcall
"""

# System V and POSIX IPC: inside the IPC namespace. `ipc` is their way in on 32-bit machines.
_IPC = """
    ipc msgget msgctl msgsnd msgrcv semget semctl semop semtimedop semtimedop_time64 shmget shmctl
    shmat shmdt mq_open mq_unlink mq_notify mq_getsetattr mq_timedsend mq_timedsend_time64
    mq_timedreceive mq_timedreceive_time64
"""

# Scheduling and limits: lowering is free, raising wants CAP_SYS_NICE or CAP_SYS_RESOURCE.
_SCHEDULING = """
    getpriority setpriority ioprio_get ioprio_set getrlimit ugetrlimit setrlimit prlimit64
    sched_yield sched_getscheduler sched_setscheduler sched_getparam sched_setparam sched_getattr
    sched_setattr sched_getaffinity sched_setaffinity sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval sched_rr_get_interval_time64
"""

_RANDOM = "getrandom"

# Landlock only takes rights away from the caller.
_SANDBOXING = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"

_ALWAYS = " ".join(
    (
        _FILES, _ATTRIBUTES, _HANDLES_AND_MOUNTS, _MEMORY, _PROCESSES, _SIGNALS, _IDENTITY, _TIME,
        _WAITING, _AIO, _NETWORK, _IPC, _SCHEDULING, _RANDOM, _SANDBOXING,
    )
)  # fmt: skip

# Looking into other processes: since 4.8 the kernel checks ptrace before seccomp, so a tracer
# cannot slip a call past the filter any more.
_TRACING = "ptrace process_vm_readv process_vm_writev"

# Whoever has the capability may use its calls; whoever has not meets the filter before the kernel.
_BY_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",  # the way out of shocker.c
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie
        lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount
        open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount
        umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "init_module finit_module delete_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": f"kcmp pidfd_getfd process_madvise {_TRACING}",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy set_mempolicy set_mempolicy_home_node mbind",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}

# What one family of processors needs beside the rest: thread pointers, caches, segments.
_BY_ARCHITECTURE = {
    ("amd64", "x32"): "arch_prctl",
    ("amd64", "x32", "x86"): "modify_ldt",
    ("arm", "arm64"): """
        arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls
    """,
}

# Namespaces make kernel code reachable that an unprivileged user should not reach. clone is allowed
# without any of CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; clone3 keeps its flags behind a pointer,
# so it must look absent, upon which every libc falls back to clone.
_NEW_NAMESPACES = 0x7E020000
_UNPRIVILEGED = Condition(capabilities=("CAP_SYS_ADMIN",))

# AF_ALG (38) reaches kernel crypto code that wrote into page caches, AF_VSOCK (40) reaches the
# hypervisor past the network namespace. Ranges, not "unequal" twice: rules are alternatives, and
# one of two "unequal" always holds. The kernel takes the family as an int, so only the lower half
# is compared: with the whole register, as docker does, 0x100000026 passes and means AF_ALG.
_SOCKETS = (("SCMP_CMP_LT", 38), ("SCMP_CMP_EQ", 39), ("SCMP_CMP_GT", 40))

# Execution domains: Linux, with 32-bit addresses or 32-bit uname, and asking for the current one.
# Others switch off address randomization or mimic other systems by code nobody maintains.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _allow_if(name: str, *arguments: Argument, excludes: Condition = Condition()) -> Rule:  # noqa: B008
    return Rule((name,), ALLOW, arguments, excludes=excludes)


_RULES = (
    Rule(_names(_ALWAYS), ALLOW),
    Rule(_names(_TRACING), ALLOW, includes=Condition(min_kernel=(4, 8))),
    *(_allow_if("socket", Argument(0, op, family, bits=32)) for op, family in _SOCKETS),
    *(_allow_if("personality", Argument(0, "SCMP_CMP_EQ", value)) for value in _PERSONALITIES),
    *(
        Rule(_names(names), ALLOW, includes=Condition(architectures=architectures))
        for architectures, names in _BY_ARCHITECTURE.items()
    ),
    *(
        Rule(_names(names), ALLOW, includes=Condition(capabilities=(capability,)))
        for capability, names in _BY_CAPABILITY.items()
    ),
    _allow_if("clone", Argument(0, "SCMP_CMP_MASKED_EQ", _NEW_NAMESPACES), excludes=_UNPRIVILEGED),
    Rule(("clone3",), errno_result(_ENOSYS), excludes=_UNPRIVILEGED),
)

PROFILE = Profile(
    errno_result(_EPERM),
    _RULES,
    sub_architectures=(
        ("SCMP_ARCH_X86_64", ("SCMP_ARCH_X86", "SCMP_ARCH_X32")),
        ("SCMP_ARCH_AARCH64", ("SCMP_ARCH_ARM",)),
    ),
)
