"""Mail: letters become messages, which are delivered by a transport or kept until they can be."""
