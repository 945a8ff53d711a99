variable "region" {
  description = "AWS region"
  type        = string
}

variable "name" {
  description = "first part of every name, for a second installation in the same account"
  type        = string
  default     = "impress"
}

variable "alarm_email" {
  description = "address that is notified of failures; AWS asks it for confirmation"
  type        = string
}

variable "environment" {
  description = "settings that are not secret, named as in src/settings.py; omitted ones are not set"
  type        = map(string)

  validation {
    condition     = alltrue([for name in keys(var.environment) : contains(keys(local.not_set), name)])
    error_message = "environment: the names are ${join(", ", keys(local.not_set))}; secrets go to SSM."
  }
  validation {
    condition     = var.create_database != (lookup(var.environment, "DB_HOSTNAME", "") != "")
    error_message = "Either create_database, or name an existing database: environment.DB_HOSTNAME."
  }
}

variable "secrets" {
  description = "names of the secrets passed to the tasks; omit those that you do not use"
  type        = set(string)
  default = [
    "DB_USERNAME",
    "DB_PASSWORD",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "DVC_USERNAME",
    "DVC_TOKEN",
    "EMAIL_PASS",
    "PREFECT_CLOUD_API_TOKEN",
    "PREFECT_API_KEY",
  ]
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose workflow may push images"
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.github_repository))
    error_message = "github_repository is OWNER/NAME, such as example/impress."
  }
}

variable "github_branch" {
  description = "branch whose workflow may push images"
  type        = string
  default     = "main"
}

variable "github_oidc_provider_arn" {
  description = "GitHub's identity provider, if the account already has it: there can be only one"
  type        = string
  default     = null
}

variable "schedules" {
  description = "when the tasks start, in time_zone"
  type        = map(string)
  default = {
    predict = "cron(0 6 ? * MON *)"
    monitor = "cron(0 8 1 * ? *)"
  }
}

variable "time_zone" {
  description = "IANA name of the time zone of the schedules"
  type        = string
  default     = "Europe/Berlin"
}

variable "good_run_within_days" {
  description = "maximum age of the last good run; checked every twelve hours"
  type        = map(number)
  default = {
    predict = 8
    monitor = 33
  }
}

# Measured with MLflow: predict took 410 MB and 5 s of a core for 1,200 phases, monitor 510 MB and 12 s
# for a report on the same number, a check 260 MB and 3 s. So 512 MB would be too little, and the smallest
# CPU size turns 5 s of a core into 20.
variable "sizes" {
  description = "CPU units (1024 are one core) and memory in MB; Fargate supports only certain pairs"
  type        = map(object({ cpu = number, memory = number }))
  default = {
    predict = { cpu = 256, memory = 1024 }
    monitor = { cpu = 512, memory = 1024 }
  }
}

variable "log_days" {
  description = "how long logs are kept"
  type        = number
  default     = 90
}

variable "network" {
  description = "an existing network; without it one is created. public: its task subnets have no NAT"
  type = object({
    vpc_id           = string
    task_subnets     = list(string)
    database_subnets = optional(list(string), [])
    public           = optional(bool, false)
  })
  default = null
}

variable "database_cidr" {
  description = "address of an existing database, such as 203.0.113.7/32: the tasks may call no other"
  type        = string
  default     = null

  validation {
    condition     = var.create_database || var.database_cidr != null
    error_message = "database_cidr: the tasks have no other outbound access and must be allowed to reach the database."
  }
}

variable "create_database" {
  description = "create a PostgreSQL on RDS, with a generated password that nobody sees"
  type        = bool
  default     = false
}

variable "database" {
  description = "size and version of that PostgreSQL; storage in GB"
  type = object({
    class            = optional(string, "db.t4g.micro")
    storage          = optional(number, 20)
    version          = optional(string, "18")
    backup_days      = optional(number, 14)
    password_version = optional(number, 1)
  })
  default = {}
}

variable "protected" {
  description = "refuse to destroy the images and the database of this installation"
  type        = bool
  default     = true
}
