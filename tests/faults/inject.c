/* Runs a program and, at one exact system call of it, kills it or makes the call fail. Reports every call that it looked at.
 *
 *   inject REPORT ROOT ACTION CALL PATH N PROGRAM ARGS…
 *
 *   ACTION  none | kill (the program) | kill-all (it and all its children) | EIO | ENOSPC
 *   CALL    as in `calls` below; PATH as it is reported; N counts the calls of the program with that name and path from 1
 *
 * What is looked at are the calls that write, sync or rename, of every thread of the program, not those of its children. strace
 * counts `when=N` for each thread alone, so it could not name a call of a program with a pool of threads.
 *
 *   ┌─ child: a seccomp filter stops it at those calls only (all others run at full speed), then exec
 *   └─ parent: ptrace; at each stop names call and path; the chosen one is never executed: the process dies before it, or its
 *      number becomes -1 (no call at all) and its result the error
 *
 * PATH is below ROOT, or absolute; of a rename, the new name. Each group of digits in it is one `#`, a run's id (digits and four
 * random characters) is `RUN`, a hash or a random name `HASH`: so the same call has the same name each time. One line a call, `CALL PATH`,
 * `HIT ` before the chosen one; at the end `exit CODE` or `signal NUMBER`. The report ends with the program; this process, with the last child of it.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* Which argument tells the file: a descriptor, a path, or a path below a folder's descriptor in the argument before. */
enum how { FD, PATH, AT };
static const struct { const char *name; long number; enum how how; int argument; } calls[] = {
    {"write", SYS_write, FD, 0},           {"pwrite", SYS_pwrite64, FD, 0},     {"writev", SYS_writev, FD, 0},
    {"pwritev", SYS_pwritev, FD, 0},       {"pwritev2", SYS_pwritev2, FD, 0},   {"sendfile", SYS_sendfile, FD, 0},
    {"copy", SYS_copy_file_range, FD, 2},  {"truncate", SYS_ftruncate, FD, 0},  {"fallocate", SYS_fallocate, FD, 0},
    {"fsync", SYS_fsync, FD, 0},           {"fdatasync", SYS_fdatasync, FD, 0}, {"syncfs", SYS_syncfs, FD, 0},
    {"syncrange", SYS_sync_file_range, FD, 0},
    {"rename", SYS_rename, PATH, 1},       {"rename", SYS_renameat, AT, 3},     {"rename", SYS_renameat2, AT, 3},
};
enum { CALLS = sizeof calls / sizeof *calls, LONGEST = 4096 };

static void fail(const char *what) {
    perror(what);
    exit(99);
}

/* In the child: stop at `calls`, then become the program. */
static void become(char **program) {
    struct sock_filter filter[CALLS + 3];
    filter[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < CALLS; i++)
        filter[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, CALLS - i, 0);
    filter[CALLS + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[CALLS + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    struct sock_fprog all = {CALLS + 3, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all)) fail("seccomp");
    execvp(program[0], program);
    fail(program[0]);
}

/* A text in the memory of a stopped thread. */
static void text_at(pid_t thread, unsigned long address, char *text) {
    for (size_t at = 0; at < LONGEST - sizeof(long); at += sizeof(long)) {
        errno = 0;
        long word = ptrace(PTRACE_PEEKDATA, thread, address + at, 0);
        if (errno) fail("read a path");
        memcpy(text + at, &word, sizeof word);
        if (memchr(&word, 0, sizeof word)) return;
    }
    text[LONGEST - 1] = 0;
}

static void file_of(pid_t thread, int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, descriptor == AT_FDCWD ? "/proc/%d/cwd" : "/proc/%d/fd/%d", thread, descriptor);
    ssize_t length = readlink(link, path, LONGEST - 1);
    path[length < 0 ? 0 : length] = 0;
}

static int digits(const char *text) {
    int count = 0;
    while (isdigit((unsigned char)text[count])) count++;
    return count;
}

/* The length of a run's id (`20260206-141502-k3f9`) that `text` begins with, or 0. */
static int run_id(const char *text) {
    if (digits(text) != 8 || text[8] != '-' || digits(text + 9) != 6 || text[15] != '-') return 0;
    for (int i = 16; i < 20; i++)
        if (!isalnum((unsigned char)text[i])) return 0;
    return 20;
}

/* The length of a hash or a random name (16 hexadecimal digits or more) that `text` begins with, or 0. */
static int hash(const char *text) {
    int count = 0;
    while (isdigit((unsigned char)text[count]) || (text[count] >= 'a' && text[count] <= 'f')) count++;
    return count < 16 ? 0 : count;
}

/* What names the call of this thread: see PATH above. */
static void name_of(pid_t thread, int call, const unsigned long long *arguments, const char *root, char *name) {
    static char path[2 * LONGEST + 1], folder[LONGEST];
    int at = calls[call].argument;
    if (calls[call].how == FD) {
        file_of(thread, (int)arguments[at], path);
    } else {
        text_at(thread, arguments[at], path);
        if (path[0] != '/') {
            file_of(thread, calls[call].how == AT ? (int)arguments[at - 1] : AT_FDCWD, folder);
            memmove(path + strlen(folder) + 1, path, strlen(path) + 1);
            memcpy(path, folder, strlen(folder));
            path[strlen(folder)] = '/';
        }
    }
    const char *from = path;
    if (!strncmp(path, root, strlen(root)) && path[strlen(root)] == '/') from += strlen(root) + 1;
    if (!strcmp(path, root)) from = ".";
    for (; *from; name++) {
        if (run_id(from)) {
            memcpy(name, "RUN", 3);
            name += 2;
            from += run_id(from);
        } else if (hash(from)) {
            memcpy(name, "HASH", 4);
            name += 3;
            from += hash(from);
        } else if (digits(from)) {
            *name = '#';
            from += digits(from);
        } else {
            *name = *from++;
        }
    }
    *name = 0;
}

static int is_of(pid_t process, pid_t thread) {
    char task[64];
    snprintf(task, sizeof task, "/proc/%d/task/%d", process, thread);
    return access(task, F_OK) == 0;
}

int main(int count, char **arguments) {
    if (count < 8) return 99;
    FILE *report = fopen(arguments[1], "we");
    const char *root = arguments[2], *action = arguments[3], *call = arguments[4], *path = arguments[5];
    long chosen = atol(arguments[6]), seen = 0;
    if (!report) fail(arguments[1]);

    int gate[2];
    if (pipe2(gate, O_CLOEXEC)) fail("pipe");
    pid_t program = fork();
    if (program < 0) fail("fork");
    if (program == 0) {
        char go;
        if (read(gate[0], &go, 1) != 1) _exit(99);
        become(arguments + 7);
    }
    long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
    if (ptrace(PTRACE_SEIZE, program, 0, options)) fail("ptrace");
    if (write(gate[1], "g", 1) != 1) fail("pipe");

    static char name[2 * LONGEST];
    pid_t all[4096];
    int threads = 0, status;
    all[threads++] = program;
    for (pid_t thread; (thread = waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (thread == program && report) {
                fprintf(report, WIFEXITED(status) ? "exit %d\n" : "signal %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
                fclose(report);
                report = NULL;
            }
            continue;
        }
        int event = status >> 16, signal = WSTOPSIG(status);
        if (event == PTRACE_EVENT_SECCOMP && report && is_of(program, thread)) {
            struct user_regs_struct registers;
            if (ptrace(PTRACE_GETREGS, thread, 0, &registers)) continue; /* killed meanwhile */
            unsigned long long given[] = {registers.rdi, registers.rsi, registers.rdx, registers.r10};
            int known = 0;
            while (calls[known].number != (long)registers.orig_rax) known++;
            name_of(thread, known, given, root, name);
            int hit = !strcmp(call, calls[known].name) && !strcmp(path, name) && ++seen == chosen;
            fprintf(report, "%s%s %s\n", hit ? "HIT " : "", calls[known].name, name);
            if (hit && !strncmp(action, "kill", 4)) {
                kill(program, SIGKILL);
                if (!strcmp(action, "kill-all"))
                    for (int i = 0; i < threads; i++) kill(all[i], SIGKILL);
                continue;
            }
            if (hit && strcmp(action, "none")) {
                registers.orig_rax = -1;
                registers.rax = -(strcmp(action, "EIO") ? ENOSPC : EIO);
                if (ptrace(PTRACE_SETREGS, thread, 0, &registers)) fail("registers");
            }
        }
        if (event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK) {
            unsigned long made;
            if (!ptrace(PTRACE_GETEVENTMSG, thread, 0, &made) && threads < 4096) all[threads++] = (pid_t)made;
        }
        if (event == PTRACE_EVENT_STOP && (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU)) {
            ptrace(PTRACE_LISTEN, thread, 0, 0);
        } else {
            ptrace(PTRACE_CONT, thread, 0, event ? 0 : signal);
        }
    }
    return 0;
}
