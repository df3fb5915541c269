/* Spiking networks with delays, tick by tick, in memory that the caller owns. The library
   allocates nothing and executes no floating-point instruction. It reads model files with i8
   weights (.pcn, version 1: core/FORMAT.md) and refuses models with f32 weights.

   One thread or interrupt at a time may use a network; several networks may share a file.
   Pointers are valid or NULL; NULL is an error. A call that fails does not change the network.
   Calls take less than 1 KiB of stack where no other size is given. */
#ifndef POLYCHRON_H
#define POLYCHRON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Results of functions that return int. */
enum {
    POLYCHRON_OK = 0,
    POLYCHRON_NULL = 1,      /* a pointer is NULL */
    POLYCHRON_FILE = 2,      /* the file is not a valid model with i8 weights: see polychron_fault */
    POLYCHRON_ALIGNMENT = 3, /* an address is not aligned */
    POLYCHRON_MEMORY = 4,    /* there is less memory than polychron_memory requires */
    POLYCHRON_CHANNEL = 5,   /* the model does not have this channel */
    POLYCHRON_COUNT = 6,     /* not one value per channel, or longer than an array can be */
    POLYCHRON_VALUE = 7      /* a value is -128 or, in a model of spikes, neither 0 nor 1 */
};

typedef struct polychron polychron;

/* The memory that a network of this file needs, in bytes: the network, its model and its state,
   which is more than `inspect` prints as RAM. 0 if the file is invalid. The size depends on the
   length of pointers: for an array of a fixed size, ask on the device. This function,
   polychron_fault and polychron_open check the whole file, in time proportional to its length
   and with about 6 KiB of stack on a 32-bit processor. */
size_t polychron_memory(const uint8_t *file, size_t length);

/* The offset of the first fault of the file in bytes; SIZE_MAX if the file is valid, 0 if it is
   NULL. 4: another version; 6: f32 weights; 8: another length; 12: damaged bytes. */
size_t polychron_fault(const uint8_t *file, size_t length);

/* Opens a network before its first tick; *network is NULL if there is an error. The network uses
   the file in place. File and memory belong to the network for as long as it is used; there is
   nothing to close. The address of the memory is a multiple of 8; its contents do not matter. */
int polychron_open(const uint8_t *file, size_t length, void *memory, size_t size, polychron **network);

/* Runs one tick in which these channels spike, in any order. If count is 0, channels may be NULL. A
   channel that occurs twice spikes once. In a model of values a spike is the value 1. */
int polychron_step(polychron *network, const uint16_t *channels, size_t count);

/* Runs one tick with one value per channel, -127 to 127; in a model of spikes 0 or 1. */
int polychron_step_values(polychron *network, const int8_t *values, size_t count);

/* Ends an utterance: runs the silent ticks in which its last spikes arrive. */
int polychron_finish(polychron *network);

/* Returns to the state before the first tick. */
int polychron_reset(polychron *network);

/* Restarts the scores; membranes and spikes that are still to arrive stay. A score saturates at
   INT32_MAX, at the earliest after 65535 ticks. */
int polychron_forget_scores(polychron *network);

/* The class with the highest score so far; of equal scores the first. SIZE_MAX for NULL. */
size_t polychron_decide(const polychron *network);

/* The score of class n so far. If the model sums a softmax, every tick adds 32768 in all,
   divided among the classes; otherwise the unit is that of the membrane. INT32_MIN for NULL or
   if there is no class n. */
int32_t polychron_score(const polychron *network, size_t n);

/* The name of class n in the file: UTF-8, length bytes, without a terminating 0. NULL and a
   length of 0 if it has none. */
const char *polychron_label(const polychron *network, size_t n, size_t *length);

/* The length of a tick in microseconds, the number of channels and of classes; 0 for NULL. */
uint32_t polychron_tick_us(const polychron *network);
size_t polychron_channels(const polychron *network);
size_t polychron_classes(const polychron *network);

#ifdef __cplusplus
}
#endif

#endif
