/*
 * checkpoint.h
 *		Merkle trees over the heads of all accounts.
 */
#ifndef LOYALTY_CHECKPOINT_H
#define LOYALTY_CHECKPOINT_H

/* Columns of what a checkpoint saw of an account, where that had changed */
enum
{
	CHECKPOINT_HEAD_ACCOUNT = 1, CHECKPOINT_HEAD_ENTRIES, CHECKPOINT_HEAD_NUMBER, CHECKPOINT_HEAD_HEAD,
	CHECKPOINT_HEAD_NATTS = CHECKPOINT_HEAD_HEAD
};

#endif							/* LOYALTY_CHECKPOINT_H */
