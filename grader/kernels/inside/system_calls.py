"""The system calls that kernels may make.

Measured with strace in both kinds of kernels: all exercises with their solutions, IPython's magics and shell lines,
plots in every format, torch's threads, data loaders, files and compiler, multiprocessing, asyncio, subprocesses. Beside
each call stand its older and newer forms, which another C library may use instead.
"""

from __future__ import annotations

_TABLE = """
# files
access 21 -, chdir 80 49, chmod 90 -, chown 92 -, close 3 57, close_range 436 436, copy_file_range 326 285, creat 85 -,
dup 32 23, dup2 33 -, dup3 292 24, faccessat 269 48, faccessat2 439 439, fadvise64 221 223, fallocate 285 47,
fchdir 81 50, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, fchown 93 55, fchownat 260 54,
fdatasync 75 83, fgetxattr 193 10, flistxattr 196 13, flock 73 32, fstat 5 80, fstatfs 138 44, fsync 74 82,
ftruncate 77 46, getcwd 79 17, getdents 78 -, getdents64 217 61, getxattr 191 8, ioctl 16 29, lchown 94 -,
lgetxattr 192 9, link 86 -, linkat 265 37, listxattr 194 11, llistxattr 195 12, lseek 8 62, lstat 6 -, mkdir 83 -,
mkdirat 258 34, mknod 133 -, mknodat 259 33, newfstatat 262 79, open 2 -, openat 257 56, openat2 437 437,
pread64 17 67, preadv 295 69, preadv2 327 286, pwrite64 18 68, pwritev 296 70, pwritev2 328 287, read 0 63,
readahead 187 213, readlink 89 -, readlinkat 267 78, readv 19 65, rename 82 -, renameat 264 38, renameat2 316 276,
rmdir 84 -, sendfile 40 71, stat 4 -, statfs 137 43, statx 332 291, symlink 88 -, symlinkat 266 36,
sync_file_range 277 84, truncate 76 45, umask 95 166, unlink 87 -, unlinkat 263 35, utimensat 280 88, utimes 235 -,
write 1 64, writev 20 66
# memory
brk 12 214, get_mempolicy 239 236, madvise 28 233, map_shadow_stack 453 453, mbind 237 235,
mprotect 10 226, mremap 25 216, mseal 462 462, msync 26 227, munmap 11 215, set_mempolicy 238 237
# processes, threads and signals
arch_prctl 158 -, execve 59 221, execveat 322 281, exit 60 93, exit_group 231 94, fork 57 -,
get_robust_list 274 100, getcpu 309 168, getpgid 121 155, getpgrp 111 -, getpid 39 172, getppid 110 173,
getpriority 140 141, getrlimit 97 163, getrusage 98 165, getsid 124 156, gettid 186 178, kill 62 129, prctl 157 167,
prlimit64 302 261, restart_syscall 219 128, rseq 334 293, rt_sigaction 13 134, rt_sigpending 127 136,
rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigsuspend 130 133, rt_sigtimedwait 128 137,
sched_get_priority_max 146 125, sched_get_priority_min 147 126, sched_getaffinity 204 123, sched_getattr 315 275,
sched_getparam 143 121, sched_getscheduler 145 120, sched_rr_get_interval 148 127, sched_setaffinity 203 122,
sched_setparam 142 118, sched_setscheduler 144 119, sched_yield 24 124, set_robust_list 273 99, set_tid_address 218 96,
setpgid 109 154, setpriority 141 140, setrlimit 160 164, setsid 112 157, sigaltstack 131 132, sysinfo 99 179,
tgkill 234 131, times 100 153, tkill 200 130, uname 63 160, vfork 58 -, wait4 61 260, waitid 247 95
# who it is
getegid 108 177, geteuid 107 175, getgid 104 176, getgroups 115 158, getresgid 120 150, getresuid 118 148,
getuid 102 174, setgid 106 144, setgroups 116 159, setregid 114 143, setresgid 119 149, setresuid 117 147,
setreuid 113 145, setuid 105 146
# time and waiting
alarm 37 -, clock_getres 229 114, clock_gettime 228 113, clock_nanosleep 230 115, epoll_create 213 -,
epoll_create1 291 20, epoll_ctl 233 21, epoll_pwait 281 22, epoll_pwait2 441 441, epoll_wait 232 -, eventfd 284 -,
eventfd2 290 19, futex 202 98, futex_requeue 456 456, futex_wait 455 455, futex_waitv 449 449, futex_wake 454 454,
getitimer 36 102, gettimeofday 96 169, nanosleep 35 101, pause 34 -, poll 7 -, ppoll 271 73, pselect6 270 72,
select 23 -, setitimer 38 103, signalfd 282 -, signalfd4 289 74, time 201 -, timerfd_create 283 85,
timerfd_gettime 287 87, timerfd_settime 286 86
# pipes and sockets
accept 43 202, accept4 288 242, bind 49 200, connect 42 203, getpeername 52 205, getsockname 51 204, getsockopt 55 209,
listen 50 201, pipe 22 -, pipe2 293 59, recvfrom 45 207, recvmmsg 299 243, recvmsg 47 212, sendmmsg 307 269,
sendmsg 46 211, sendto 44 206, shutdown 48 210
# randomness
getrandom 318 278
"""
"""Name, number on x86-64, number on the architectures that share the newer numbers; a dash where there is none."""


def numbers(column: int) -> list[int]:
    """The allowed calls of an architecture, sorted: column 0 is x86-64, column 1 the newer ones."""
    rows = [row.split() for line in _TABLE.splitlines() if not line.startswith("#") for row in line.split(",")]
    return sorted(int(row[column + 1]) for row in rows if row and row[column + 1] != "-")
