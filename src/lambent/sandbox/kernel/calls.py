"""The system calls of a sandbox: reviewed data, compiled to a filter by ``seccomp``.

Each line has a call's name and its numbers on x86_64 and aarch64, "-" where the machine lacks it
(Linux's unistd tables, up to 6.17).  What is in no table does not exist for a function: ENOSYS, the
answer of an older kernel, upon which libraries fall back to what they did before.
"""

from __future__ import annotations

# Permitted whatever the arguments, by what they act on and what bounds them.
ALLOWED = (
    # Open files: read, write, seek, poll, lock, copy; the descriptor's own mode decides.
    """
    read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69,
    pwritev 296 70, preadv2 327 286, pwritev2 328 287, lseek 8 62, close 3 57, close_range 436 436,
    dup 32 23, dup2 33 -, dup3 292 24, fcntl 72 25, flock 73 32, fsync 74 82, fdatasync 75 83,
    ftruncate 77 46, fallocate 285 47, fadvise64 221 223, readahead 187 213,
    sync_file_range 277 84, sendfile 40 71, splice 275 76, tee 276 77, copy_file_range 326 285,
    pipe 22 -, pipe2 293 59, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72,
    epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -,
    epoll_pwait 281 22, epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19, signalfd 282 -,
    signalfd4 289 74, timerfd_create 283 85, timerfd_settime 286 86, timerfd_gettime 287 87,
    inotify_init 253 -, inotify_init1 294 26, inotify_add_watch 254 27, inotify_rm_watch 255 28,
    fstat 5 80, fstatfs 138 44, getdents 78 -, getdents64 217 61
    """,
    # Files by path: the mounts and the files' modes decide; mknod makes FIFOs, devices need a
    # capability.
    """
    open 2 -, openat 257 56, openat2 437 437, creat 85 -, access 21 -, faccessat 269 48,
    faccessat2 439 439, stat 4 -, lstat 6 -, newfstatat 262 79, statx 332 291, statfs 137 43,
    truncate 76 45, chdir 80 49, fchdir 81 50, getcwd 79 17, mkdir 83 -, mkdirat 258 34,
    rmdir 84 -, rename 82 -, renameat 264 38, renameat2 316 276, link 86 -, linkat 265 37,
    symlink 88 -, symlinkat 266 36, readlink 89 -, readlinkat 267 78, unlink 87 -, unlinkat 263 35,
    mknod 133 -, mknodat 259 33, chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452,
    chown 92 -, fchown 93 55, fchownat 260 54, lchown 94 -, umask 95 166, utime 132 -,
    utimes 235 -, futimesat 261 -, utimensat 280 88, getxattr 191 8, lgetxattr 192 9,
    fgetxattr 193 10, listxattr 194 11, llistxattr 195 12, flistxattr 196 13, setxattr 188 5,
    lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16,
    getxattrat 464 464, setxattrat 463 463, listxattrat 465 465, removexattrat 466 466,
    file_getattr 468 468
    """,
    # Memory of the process's own; the control group or the watcher of init counts it.
    """
    brk 12 214, munmap 11 215, mremap 25 216, mprotect 10 226, madvise 28 233, mincore 27 232,
    msync 26 227, mlock 149 228, mlock2 325 284, mlockall 151 230, munlock 150 229,
    munlockall 152 231, membarrier 324 283, remap_file_pages 216 234, pkey_alloc 330 289,
    pkey_free 331 290, pkey_mprotect 329 288, mseal 462 462, map_shadow_stack 453 453
    """,
    # Programs, processes and threads within the namespace.
    """
    execve 59 221, execveat 322 281, fork 57 -, vfork 58 -, exit 60 93, exit_group 231 94,
    wait4 61 260, waitid 247 95, getpid 39 172, getppid 110 173, gettid 186 178, getpgid 121 155,
    getpgrp 111 -, getsid 124 156, setpgid 109 154, setsid 112 157, set_tid_address 218 96,
    set_robust_list 273 99, get_robust_list 274 100, futex 202 98, futex_wait 455 455,
    futex_wake 454 454, futex_waitv 449 449, futex_requeue 456 456, rseq 334 293, arch_prctl 158 -,
    sched_yield 24 124, sched_getaffinity 204 123, sched_getattr 315 275, sched_getparam 143 121,
    sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min 147 126,
    sched_rr_get_interval 148 127, getpriority 140 141, ioprio_get 252 31, getcpu 309 168,
    getrlimit 97 163, setrlimit 160 164, getrusage 98 165, times 100 153, uretprobe 335 -,
    restart_syscall 219 128
    """,
    # Signals; they reach the namespace's own processes, and never its init.
    """
    kill 62 129, tkill 200 130, tgkill 234 131, rt_sigaction 13 134, rt_sigprocmask 14 135,
    rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigqueueinfo 129 138,
    rt_tgsigqueueinfo 297 240, rt_sigreturn 15 139, rt_sigsuspend 130 133, sigaltstack 131 132,
    pause 34 -, pidfd_open 434 434, pidfd_send_signal 424 424
    """,
    # Clocks and timers are read and set for oneself.
    """
    time 201 -, gettimeofday 96 169, clock_gettime 228 113, clock_getres 229 114,
    clock_nanosleep 230 115, nanosleep 35 101, alarm 37 -, getitimer 36 102, setitimer 38 103,
    timer_create 222 107, timer_settime 223 110, timer_gettime 224 108, timer_getoverrun 225 109,
    timer_delete 226 111
    """,
    # Sockets that exist; their making is judged below.
    """
    accept 43 202, accept4 288 242, bind 49 200, connect 42 203, listen 50 201, getsockname 51 204,
    getpeername 52 205, getsockopt 55 209, sendto 44 206, recvfrom 45 207, sendmsg 46 211,
    recvmsg 47 212, sendmmsg 307 269, recvmmsg 299 243, shutdown 48 210
    """,
    # Between processes, in an IPC namespace of the sandbox's own.
    """
    semop 65 193, semtimedop 220 192, semctl 66 191, shmat 30 196, shmdt 67 197,
    shmctl 31 195, msgsnd 69 189, msgrcv 70 188, msgctl 71 187, mq_open 240 180, mq_unlink 241 181,
    mq_timedsend 242 182, mq_timedreceive 243 183, mq_notify 244 184, mq_getsetattr 245 185
    """,
    # Identity: without capabilities these change nothing but among the ids a process has.
    """
    getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getgroups 115 158,
    getresuid 118 148, getresgid 120 150, setuid 105 146, setgid 106 144, setreuid 113 145,
    setregid 114 143, setresuid 117 147, setresgid 119 149, setfsuid 122 151, setfsgid 123 152,
    setgroups 116 159, capget 125 90, capset 126 91
    """,
    # Restricting oneself further, as Landlock does, adds no privilege.
    """
    landlock_create_ruleset 444 444, landlock_add_rule 445 445, landlock_restrict_self 446 446,
    lsm_get_self_attr 459 459, lsm_list_modules 461 461
    """,
    # What the kernel tells everyone.
    """
    uname 63 160, sysinfo 99 179, getrandom 318 278
    """,
)
# Permitted where a control group counts the memory they take, else ENOSYS: it is the memory of no
# process, so that nothing else would.
METERED = """
    memfd_create 319 279, shmget 29 194, msgget 68 186, semget 64 190
"""
# Permitted by their arguments: see ``seccomp``.
JUDGED = """
    clone 56 220, socket 41 198, socketpair 53 199, setsockopt 54 208, ioctl 16 29,
    personality 135 92, prctl 157 167, prlimit64 302 261, setpriority 141 140,
    sched_setaffinity 203 122, sched_setscheduler 144 119, sched_setparam 142 118,
    sched_setattr 314 274, ioprio_set 251 30, mmap 9 222
"""
# Answered as done: they would write all file systems of the host, and what a function writes lasts
# no longer than its sandbox.
DONE = """
    sync 162 81, syncfs 306 267
"""
# Answered with ENOSYS.  clone3: its flags lie in memory a filter cannot read; libc, the JVM and Go
# then use clone, whose flags it can.  seccomp: programs of a function's own for the kernel to run.
# io_*: contexts come from one table of the host, which one function could fill.
ABSENT = """
    clone3 435 435, seccomp 317 277, io_setup 206 0, io_destroy 207 1, io_submit 209 2,
    io_cancel 210 3, io_getevents 208 4, io_pgetevents 333 292
"""
# Answered with EPERM: known, and for no function.
DENIED = (
    # Mounts and roots.
    """
    mount 165 40, umount2 166 39, mount_setattr 442 442, move_mount 429 429, open_tree 428 428,
    open_tree_attr 467 467, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433,
    pivot_root 155 41, chroot 161 51, statmount 457 457, listmount 458 458
    """,
    # Namespaces.
    """
    setns 308 268, unshare 272 97
    """,
    # Other processes' memory, descriptors and state.
    """
    ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, process_madvise 440 440,
    process_mrelease 448 448, pidfd_getfd 438 438, kcmp 312 272
    """,
    # Files by handle, past every mount; notices of other processes' files.
    """
    name_to_handle_at 303 264, open_by_handle_at 304 265, fanotify_init 300 262,
    fanotify_mark 301 263
    """,
    # Kernel interfaces with a history of holes and no use in a function.
    """
    bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, io_uring_setup 425 425,
    io_uring_enter 426 426, io_uring_register 427 427, memfd_secret 447 447, vmsplice 278 75,
    cachestat 451 451, lookup_dcookie 212 18, add_key 248 217, request_key 249 218, keyctl 250 219,
    uprobe 336 -, file_setattr 469 469
    """,
    # Where memory lies, for machines with several nodes.
    """
    mbind 237 235, set_mempolicy 238 237, get_mempolicy 239 236, set_mempolicy_home_node 450 450,
    migrate_pages 256 238, move_pages 279 239
    """,
    # Devices, segments and port access of x86.
    """
    modify_ldt 154 -, ioperm 173 -, iopl 172 -
    """,
    # The host itself: modules, clocks, names, disks, quotas, its log, its end.
    """
    init_module 175 105, finit_module 313 273, delete_module 176 106, create_module 174 -,
    query_module 178 -, get_kernel_syms 177 -, kexec_load 246 104, kexec_file_load 320 294,
    reboot 169 142, swapon 167 224, swapoff 168 225, acct 163 89, quotactl 179 60,
    quotactl_fd 443 443, syslog 103 116, settimeofday 164 170, clock_settime 227 112,
    clock_adjtime 305 266, adjtimex 159 171, sethostname 170 161, setdomainname 171 162,
    vhangup 153 58, lsm_set_self_attr 460 460
    """,
    # Of long ago.
    """
    _sysctl 156 -, sysfs 139 -, ustat 136 -, uselib 134 -, nfsservctl 180 42, getpmsg 181 -,
    putpmsg 182 -, afs_syscall 183 -, tuxcall 184 -, security 185 -, vserver 236 -,
    epoll_ctl_old 214 -, epoll_wait_old 215 -, set_thread_area 205 -, get_thread_area 211 -
    """,
)


def numbers(table: str | tuple[str, ...], machine: str) -> dict[str, int]:
    """The calls of a table that a machine ("x86_64" or "aarch64") has, by name."""
    column = {"x86_64": 1, "aarch64": 2}[machine]
    lines = table if isinstance(table, str) else ",".join(table)
    calls = [each.split() for each in lines.split(",") if each.strip()]
    return {call[0]: int(call[column]) for call in calls if call[column] != "-"}
