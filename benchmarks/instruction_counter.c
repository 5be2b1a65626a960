// A plugin of qemu that counts instructions: each time the emulated program calls getppid(), it writes the number of
// instructions so far to a file. instruction_counts.py compiles it.
//
//   qemu-aarch64 -plugin counter.so,counts=COUNTS PROGRAM
//
// The declarations are those of qemu's plugin interface (docs/devel/tcg-plugins in qemu), so that no header of qemu is
// needed. Build it with -DPLUGIN_VERSION=2 for qemu 9 and newer.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION 1
#endif

typedef uint64_t PluginId;
struct Block;  // a run of instructions without a jump
typedef struct {
  const char* target_name;
  // More fields, which are not read here.
} Info;

void qemu_plugin_register_vcpu_tb_trans_cb(PluginId id, void (*callback)(PluginId, struct Block*));
void qemu_plugin_register_vcpu_tb_exec_cb(struct Block* block, void (*callback)(unsigned, void*), int flags, void* data);
void qemu_plugin_register_vcpu_syscall_cb(PluginId id, void (*callback)(PluginId, unsigned, int64_t, uint64_t, uint64_t,
                                                                        uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                                        uint64_t));
size_t qemu_plugin_tb_n_insns(const struct Block* block);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;

static uint64_t count;
static int64_t getppid_number;
static FILE* file;

static void executed(unsigned cpu, void* instructions) {
  (void)cpu;
  __atomic_fetch_add(&count, (uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void translated(PluginId id, struct Block* block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_cb(block, executed, 0, (void*)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void called(PluginId id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                   uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number != getppid_number) return;
  fprintf(file, "%llu\n", (unsigned long long)__atomic_load_n(&count, __ATOMIC_RELAXED));
  fflush(file);
}

EXPORT int qemu_plugin_install(PluginId id, const Info* info, int argc, char** argv) {
  if (argc != 1 || strncmp(argv[0], "counts=", 7)) return 1;
  file = fopen(argv[0] + 7, "w");
  if (!file) return 1;
  getppid_number = strcmp(info->target_name, "x86_64") ? 173 : 110;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  return 0;
}
